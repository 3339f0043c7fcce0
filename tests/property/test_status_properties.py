"""Parsers of what strangers send: OCSP, time-stamps and DER never fail in a way of their own."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from asn1crypto import core, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from support.clock import SeededEntropy
from support.hierarchy import Hierarchy
from yinxin_ca import der
from yinxin_ca.keystore import Purpose
from yinxin_ca.ocsp import Delegation, OcspResponder, parse_ocsp_request
from yinxin_ca.timestamp import TimestampAuthority
from yinxin_ca.timestampbook import InMemoryTimestampBook
from yinxin_proto.certificate import parse
from yinxin_proto.der import content, dotted, elements, integer, split
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.ocsp import parse_ocsp
from yinxin_proto.suite import ES256
from yinxin_proto.timestamp import DIGESTS, Imprint, parse_request, parse_tst_info
from yinxin_proto.timestamp_token import token_of, verify_token

REGION = Hierarchy()
KEY = ES256.generate()
LEAF = parse(REGION.licence_certificate())
ISSUER = parse(REGION.licences.certificate)
ROOT = parse(REGION.root.certificate)
DELEGATION = Delegation(
    issuer=ISSUER,
    register=REGION.registers[Purpose.LICENCE_CA],
    responder=parse(REGION.responder_certificate(REGION.licences, KEY.public_key)),
    signer=KEY,
)
RESPONDER = OcspResponder(delegation=DELEGATION.of, clock=REGION.clock, lifetime=timedelta(hours=1))
REQUEST = (
    ocsp.OCSPRequestBuilder()
    .add_certificate(
        x509.load_der_x509_certificate(LEAF.der),
        x509.load_der_x509_certificate(ISSUER.der),
        hashes.SHA256(),
    )
    .build()
    .public_bytes(Encoding.DER)
)
ANSWER = RESPONDER.answer(REQUEST).der
STAMPER = TimestampAuthority(
    chain=REGION.timestamps.chain(REGION.timestamp_certificate(KEY.public_key)),
    signer=KEY,
    book=InMemoryTimestampBook(entropy=SeededEntropy()),
    clock=REGION.clock,
)
IMPRINT = Imprint.of(b"data")
QUERY: bytes = tsp.TimeStampReq(
    {
        "version": "v1",
        "message_imprint": {
            "hash_algorithm": {"algorithm": "sha256"},
            "hashed_message": IMPRINT.digest,
        },
        "cert_req": True,
    }
).dump()
TOKEN = token_of(STAMPER.answer(QUERY).der)


def _changed(original: bytes) -> st.SearchStrategy[bytes]:
    """Arbitrary bytes, or the original with some of it replaced."""
    places = st.integers(0, len(original))
    splice = st.builds(
        lambda at, new, drop: original[:at] + new + original[at + drop :],
        places,
        st.binary(max_size=8),
        st.integers(0, 8),
    )
    return st.one_of(st.binary(max_size=200), splice)


@given(_changed(REQUEST))
def test_any_ocsp_request_is_parsed_or_refused_and_always_answered(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        parse_ocsp_request(data)
    assert elements(RESPONDER.answer(data).der)


@given(_changed(ANSWER))
def test_any_ocsp_answer_is_refused_unless_it_says_the_same(data: bytes) -> None:
    def read(answer: bytes) -> object:
        return parse_ocsp(answer).verify(LEAF, ISSUER, suite=ES256, at=REGION.clock.now())

    try:
        said = read(data)
    except (MalformedError, VerificationError):
        return
    assert said == read(ANSWER)


@given(_changed(QUERY))
def test_any_time_stamp_request_is_parsed_or_refused_and_always_answered(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        parse_request(data)
    assert elements(STAMPER.answer(data).der)


@given(_changed(TOKEN))
def test_any_token_is_refused_unless_it_says_the_same(data: bytes) -> None:
    try:
        said = verify_token(data, IMPRINT, anchor=ROOT, suite=ES256)
    except (MalformedError, VerificationError):
        return
    assert said == verify_token(TOKEN, IMPRINT, anchor=ROOT, suite=ES256)


@given(st.binary(max_size=64))
def test_der_reads_or_refuses(data: bytes) -> None:
    for read in (elements, split, integer, dotted, parse_tst_info, token_of):
        try:
            read(data)
        except MalformedError:
            continue


@given(st.integers(-(1 << 300), 1 << 300))
def test_an_integer_reads_as_asn1crypto_wrote_it(value: int) -> None:
    assert integer(core.Integer(value).dump()) == value


@given(st.lists(st.integers(0, (1 << 40) - 1), min_size=1, max_size=6), st.integers(0, 2))
def test_an_oid_is_its_own_text(arcs: list[int], first: int) -> None:
    second = arcs[0] % 40 if first < 2 else arcs[0]
    text = ".".join(map(str, (first, second, *arcs[1:])))
    encoded = der.oid(text)
    if len(content(encoded, 0x06)) <= 64:
        assert dotted(encoded) == text


@given(
    st.sampled_from(sorted(DIGESTS)),
    st.one_of(st.none(), st.integers(-(1 << 100), 1 << 100)),
    st.booleans(),
)
def test_a_request_reads_as_asn1crypto_wrote_it(
    algorithm: str, nonce: int | None, certificates: bool
) -> None:
    imprint = Imprint.of(b"data", algorithm)
    fields: dict[str, object] = {
        "version": "v1",
        "message_imprint": {
            "hash_algorithm": {"algorithm": algorithm},
            "hashed_message": imprint.digest,
        },
        "cert_req": certificates,
    }
    if nonce is not None:
        fields["nonce"] = nonce
    read = parse_request(tsp.TimeStampReq(fields).dump())
    assert (read.imprint, read.nonce, read.wants_certificates) == (imprint, nonce, certificates)
