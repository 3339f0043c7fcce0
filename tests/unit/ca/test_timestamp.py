from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha1, sha256, sha384, sha512
from typing import Any

import pytest
from asn1crypto import cms, core, tsp

from support.clock import SeededEntropy
from support.hierarchy import AUTHORITY, Hierarchy
from yinxin_ca import der
from yinxin_ca.profile import LICENCE
from yinxin_ca.timestamp import Failure, TimestampAuthority, _Frame
from yinxin_ca.timestampbook import InMemoryTimestampBook
from yinxin_proto.certificate import parse
from yinxin_proto.der import elements
from yinxin_proto.error import ConfigurationError, MalformedError, VerificationError
from yinxin_proto.signature import SigningKey
from yinxin_proto.suite import ES256
from yinxin_proto.timestamp import (
    POLICY,
    SM3,
    Imprint,
    Timestamp,
    parse_request,
    parse_tst_info,
)
from yinxin_proto.timestamp_token import _SignedToken, token_of, verify_token

DATA = "一份电子证照".encode()
IMPRINT = Imprint.of(DATA)


@dataclass
class Office:
    """A time-stamp authority, and who asks it."""

    region: Hierarchy = field(default_factory=Hierarchy)
    key: SigningKey = field(default_factory=ES256.generate)

    def __post_init__(self) -> None:
        self.book = InMemoryTimestampBook(entropy=SeededEntropy())
        own = self.region.timestamp_certificate(self.key.public_key)
        self.chain = self.region.timestamps.chain(own)
        self.authority = self.open()

    def open(self, **changes: object) -> TimestampAuthority:
        collaborators: dict[str, Any] = {
            "chain": self.chain,
            "signer": self.key,
            "book": self.book,
            "clock": self.region.clock,
        }
        return TimestampAuthority(**collaborators | changes)

    def token(self, request: bytes | None = None) -> bytes:
        return token_of(self.authority.answer(request or ask()).der)

    def verify(self, token: bytes, **changes: object) -> Timestamp:
        arguments: dict[str, Any] = {
            "anchor": parse(self.region.root.certificate),
            "suite": ES256,
        }
        return verify_token(token, IMPRINT, **arguments | changes)


def ask(
    algorithm: str = "sha256",
    digest: bytes | None = None,
    *,
    certificates: bool = True,
    **more: object,
) -> bytes:
    """Return a request; more fields as asn1crypto takes them."""
    imprint = {
        "hash_algorithm": {"algorithm": algorithm},
        "hashed_message": sha256(DATA).digest() if digest is None else digest,
    }
    return bytes(
        tsp.TimeStampReq(
            {"version": "v1", "message_imprint": imprint, "cert_req": certificates} | more
        ).dump()
    )


@pytest.fixture
def office() -> Office:
    return Office()


def test_a_token_says_when_under_which_policy_and_how_exactly(office: Office) -> None:
    said = office.verify(office.token(ask(nonce=42)), nonce=42)
    assert (said.imprint, said.policy, said.nonce) == (IMPRINT, POLICY, 42)
    assert (said.at, said.accuracy) == (office.region.clock.now(), timedelta(seconds=1))
    assert said.no_later_than == said.at + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("name", "digest"), [("sha384", sha384(DATA).digest()), ("sha512", sha512(DATA).digest())]
)
def test_longer_digests_are_stamped(office: Office, name: str, digest: bytes) -> None:
    request = ask(name, digest)
    token = office.token(request)
    imprint = parse_request(request).imprint
    said = verify_token(token, imprint, anchor=parse(office.region.root.certificate), suite=ES256)
    assert said.imprint.digest == digest


def test_certificates_are_enclosed_only_where_asked_for(office: Office) -> None:
    token = office.token(ask(certificates=False))
    with pytest.raises(VerificationError) as refused:
        office.verify(token)
    assert refused.value.reason == "TIMESTAMP_CERTIFICATE"
    assert office.verify(token, certificates=office.chain).imprint == IMPRINT


def test_every_token_has_a_number_of_its_own(office: Office) -> None:
    numbers = {office.verify(office.token()).serial for _ in range(20)}
    assert len(numbers) == 20


@pytest.mark.parametrize(
    ("request_", "failure", "word"),
    [
        (b"", Failure.BAD_FORMAT, "bad_data_format"),
        (ask() + b"\0", Failure.BAD_FORMAT, "bad_data_format"),
        (ask("sha1", sha1(DATA, usedforsecurity=False).digest()), Failure.BAD_ALGORITHM, "bad_alg"),
        (ask(digest=b"short"), Failure.BAD_ALGORITHM, "bad_alg"),
        (ask(SM3), Failure.BAD_ALGORITHM, "bad_alg"),
        (ask(req_policy="2.999.1"), Failure.UNACCEPTED_POLICY, "unaccepted_policy"),
        (
            ask(extensions=[{"extn_id": "2.999.1", "extn_value": b"\x05\x00"}]),
            Failure.UNACCEPTED_EXTENSION,
            "unaccepted_extensions",
        ),
    ],
)
def test_what_cannot_be_stamped_is_told_why(
    office: Office, request_: bytes, failure: Failure, word: str
) -> None:
    reply = office.authority.answer(request_)
    assert reply.failure is failure
    status = tsp.PKIStatusInfo.load(elements(reply.der)[0])
    assert status["status"].native == "rejection"
    assert status["fail_info"].native == {word}
    with pytest.raises(MalformedError) as refused:
        token_of(reply.der)
    assert refused.value.reason == "TIMESTAMP_REFUSED"


def test_a_clock_that_went_back_stamps_nothing_until_it_has_caught_up(office: Office) -> None:
    office.token()
    office.region.clock.advance(seconds=-2)
    assert office.authority.answer(ask()).failure is Failure.TIME_NOT_AVAILABLE
    office.region.clock.advance(seconds=2)
    assert office.authority.answer(ask()).failure is None


def test_an_authority_whose_certificate_ended_stamps_nothing(office: Office) -> None:
    office.region.clock.advance(days=4 * 365)
    assert office.authority.answer(ask()).failure is Failure.TIME_NOT_AVAILABLE


def test_only_a_certificate_for_time_stamping_and_its_key_will_do(office: Office) -> None:
    with pytest.raises(ConfigurationError):
        office.open(chain=(office.region.licence_certificate(),))
    with pytest.raises(ConfigurationError):
        office.open(signer=ES256.generate())


def test_a_book_that_cannot_be_written_stamps_nothing(office: Office) -> None:
    class Full(InMemoryTimestampBook):
        def reserve(self, at: object) -> int:
            raise OSError("no space")

    signed: list[bytes] = []

    class Watched:
        public_key = office.key.public_key

        def sign(self, message: bytes) -> bytes:
            signed.append(message)
            return office.key.sign(message)

    authority = office.open(book=Full(entropy=SeededEntropy()), signer=Watched())
    with pytest.raises(OSError, match="no space"):
        authority.answer(ask())
    assert signed == []


# --- attacks on who reads a token --------------------------------------------


def test_a_token_for_other_data_is_refused(office: Office) -> None:
    with pytest.raises(VerificationError) as refused:
        verify_token(
            office.token(),
            Imprint.of(b"forged"),
            anchor=parse(office.region.root.certificate),
            suite=ES256,
        )
    assert refused.value.reason == "TIMESTAMP_IMPRINT"


def test_an_old_token_does_not_answer_a_new_request(office: Office) -> None:
    with pytest.raises(VerificationError) as refused:
        office.verify(office.token(ask(nonce=1)), nonce=2)
    assert refused.value.reason == "TIMESTAMP_NONCE"


def test_a_token_chains_to_the_anchor_that_is_trusted_or_to_nothing(office: Office) -> None:
    with pytest.raises(VerificationError) as refused:
        office.verify(office.token(), anchor=parse(Hierarchy().root.certificate))
    assert refused.value.reason.startswith("CHAIN_")


def _changed(token: bytes, change: Callable[[cms.SignedData], None]) -> bytes:
    info = cms.ContentInfo.load(token)
    change(info["content"])
    return bytes(info.dump(force=True))


def test_a_licence_key_cannot_stamp(office: Office) -> None:
    thief = ES256.generate()
    stolen = office.region.licences.issue(LICENCE, subject=AUTHORITY, public_key=thief.public_key)
    authority = office.open()
    authority._own, authority._signer = parse(stolen), thief
    chain = office.region.licences.chain(stolen)
    authority._frame = _Frame.of(chain, authority._digest_oid, authority._digest)
    with pytest.raises(VerificationError) as refused:
        office.verify(token_of(authority.answer(ask()).der))
    assert refused.value.reason == "TIMESTAMP_PURPOSE"


def test_a_second_certificate_of_the_same_number_is_not_taken_for_the_signers(
    office: Office,
) -> None:
    # ESSCertIDv2: the token names its certificate by digest, not by number alone.
    token = office.token()
    twin = bytearray(office.chain[0])
    twin[-1] ^= 1
    with pytest.raises(VerificationError) as refused:
        office.verify(token.replace(office.chain[0], bytes(twin)))
    assert refused.value.reason == "TIMESTAMP_CERTIFICATE"


def test_other_content_under_the_same_signature_is_refused(office: Office) -> None:
    later = office.token()
    signed_data = cms.ContentInfo.load(later)["content"]
    said = tsp.TSTInfo.load(signed_data["encap_content_info"]["content"].contents)
    said["gen_time"] = office.region.clock.now() - timedelta(days=300)

    def backdate(signed: cms.SignedData) -> None:
        content = core.ParsableOctetString(said.dump(force=True))
        signed["encap_content_info"]["content"] = content

    with pytest.raises(VerificationError) as refused:
        office.verify(_changed(later, backdate), anchor=parse(office.region.timestamps.certificate))
    assert refused.value.reason in {"TIMESTAMP_DIGEST", "CERTIFICATE_NOT_YET_VALID"}


@pytest.mark.parametrize(
    "accuracy",
    [
        b"\x02\x02\xf1\xf0",  # an hour before its own time
        b"\x02\x0d" + b"\x7f" * 13,
        b"\x02\x03\x01\x51\x81",
        b"\x80\x02\x03\xe8",
        b"\x85\x01\x05",
        b"\x02\x01\x01\x02\x01\x01",
    ],
)
def test_an_accuracy_that_no_clock_has_is_not_read(office: Office, accuracy: bytes) -> None:
    said = cms.ContentInfo.load(office.token())["content"]["encap_content_info"]["content"]
    # The only SEQUENCE of one small INTEGER in it: one second.
    stated, changed = bytes.fromhex("3003020101"), bytes([0x30, len(accuracy)]) + accuracy
    fields = elements(said.contents)
    assert stated in fields
    altered = der.sequence(*(changed if field == stated else field for field in fields))
    assert parse_tst_info(said.contents).accuracy == timedelta(seconds=1)
    with pytest.raises(MalformedError) as refused:
        parse_tst_info(altered)
    assert refused.value.reason == "TIMESTAMP"


def test_a_time_after_the_last_year_is_not_read(office: Office) -> None:
    said = cms.ContentInfo.load(office.token())["content"]["encap_content_info"]["content"]
    fields = [
        b"\x18\x0f99991231235959Z" if field[0] == 0x18 else field
        for field in elements(said.contents)
    ]
    with pytest.raises(MalformedError):
        parse_tst_info(der.sequence(*fields))


def test_a_signer_named_by_more_than_issuer_and_number_is_refused(office: Office) -> None:
    signed = _SignedToken.parse(office.token())
    issuer, serial = elements(signed.signer_id)
    for fields in ((issuer, serial, serial), (issuer,), ()):
        with pytest.raises(MalformedError):
            replace(signed, signer_id=der.sequence(*fields)).signer_among([])


def test_a_second_signer_is_refused(office: Office) -> None:
    def double(signed: cms.SignedData) -> None:
        signed["signer_infos"] = [*signed["signer_infos"], signed["signer_infos"][0]]

    with pytest.raises(MalformedError):
        office.verify(_changed(office.token(), double))


def test_one_flipped_bit_is_never_read_as_another_token(office: Office) -> None:
    token = office.token()
    said = office.verify(token)
    for position in range(0, len(token), 5):
        flipped = bytearray(token)
        flipped[position] ^= 1 << position % 8
        try:
            read = office.verify(bytes(flipped))
        except (MalformedError, VerificationError):
            continue
        assert read == said
