"""A whole region in every suite: what its keys, licences, lists and rows are made with.

`test_client` does everything that a department does in two of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from support.requests import AUTHORITY
from support.running_region import RunningRegion
from support.served_region import CONTEXT as CALLED
from support.served_region import ServedRegion, issue_request, run
from support.small_region import SmallRegion
from yinxin import Indication, Verifier
from yinxin_ca.keystore import Purpose
from yinxin_proto import sdjwt
from yinxin_proto.certificate import parse as parse_certificate
from yinxin_proto.certificate import verify_chain
from yinxin_proto.crl import parse_crl
from yinxin_proto.error import VerificationError
from yinxin_proto.jose import x5c_chain
from yinxin_proto.keybinding import bind, confirmation_key, verify_key_binding
from yinxin_proto.licence import LicenceFile
from yinxin_proto.suite import ES256, SM2, Suite, suite
from yinxin_trust import schema
from yinxin_trust.certification import AUTHORITIES, get_crl
from yinxin_trust.cipher import AES_256, SM4
from yinxin_trust.keyring import OFFLINE, ONLINE
from yinxin_trust.refresh import refresh
from yinxin_trust.region import EXAMPLE
from yinxin_trust.suites import INTERCHANGE, PARALLEL
from yinxin_trust.transition import Operation
from yinxin_trust.trustlisting import build_trust_list, get_anchors
from yinxin_verifier.certification import suite_of

WITHOUT_SM2 = {"YINXIN_LIBCRYPTO": "libno-such-crypto.so"}
TABLES = {
    "SM2": replace(EXAMPLE, suite="SM2"),
    "ML-DSA-65": replace(EXAMPLE, suite="ML-DSA-65"),
    "SM2 under ML-DSA-65": replace(EXAMPLE, suite="SM2", root_suite="ML-DSA-65"),
}


@pytest.fixture(scope="module", params=TABLES)
def running(request: pytest.FixtureRequest) -> Iterator[RunningRegion]:
    with RunningRegion.start(table=TABLES[request.param]) as region:
        yield region


@pytest.fixture
def own(running: RunningRegion) -> Suite:
    return running.region.foundation.suites.own


def test_each_key_is_of_the_suite_that_its_purpose_has(running: RunningRegion, own: Suite) -> None:
    keyring, suites = running.region.keyring, running.region.foundation.suites
    for purpose in (*OFFLINE, *ONLINE):
        found = keyring.signer(purpose).public_key.suite
        assert found is suites.of(purpose)
        wanted = suites.root if purpose is Purpose.ROOT else own
        assert found is PARALLEL.get(purpose, ES256 if purpose in INTERCHANGE else wanted)
    with running.region.storage.read() as conn:
        listed = build_trust_list(conn, running.region.namespace, running.clock.now())
    records = [key for authority in listed.authorities for key in authority.keys]
    assert {record.suite for record in (*records, *listed.status_keys)} == {own.name}


def test_a_licence_is_signed_hashed_and_certified_by_it(running: RunningRegion, own: Suite) -> None:
    region = running.region
    token = sdjwt.parse(LicenceFile.parse(running.issue().licence_file).sd_jwt)
    assert token.header["alg"] == own.jose_alg
    assert token.payload["_sd_alg"] == own.sd_alg
    chain = [parse_certificate(der) for der in x5c_chain(token.header)]
    token.verify(chain[0].public_key(own))
    with region.storage.read() as conn:
        root = parse_certificate(get_anchors(conn).root)
    verify_chain(chain, root, suite_of, at=running.clock.now())


def test_every_revocation_list_holds(running: RunningRegion) -> None:
    with running.region.storage.read() as conn:
        anchors = get_anchors(conn)
        lists = {name: get_crl(conn, name) for name in AUTHORITIES}
    for name, der in lists.items():
        issuer = parse_certificate(getattr(anchors, name))
        assert der is not None
        parse_crl(der).verify(issuer, suite=suite_of(issuer))


def test_a_status_list_is_renewed(running: RunningRegion) -> None:
    running.change(running.issue(), Operation.SUSPEND)
    running.clock.advance(timedelta(days=4))
    try:
        assert refresh(running.region)
    finally:
        running.clock.advance(timedelta(days=-4))


def test_values_at_rest_are_under_the_cipher_of_the_suite(
    running: RunningRegion, own: Suite
) -> None:
    running.issue()
    expected = SM4 if own is SM2 else AES_256
    with running.region.storage.read() as conn:
        wrapped = conn.execute(select(schema.subject.c.wrapped_key)).scalars().all()
    assert {len(bytes(key)) for key in wrapped} == {expected.wrapped_bytes}


def test_a_holder_presents_with_a_key_of_the_suite() -> None:
    # In an SM2 region a holder's key may be one of SM2; its sd_hash is by SM3.
    with SmallRegion.found(table=TABLES["SM2"]) as small:
        key = SM2.generate()
        jwk = dict(SM2.public_to_jwk(key.public_key))
        record = small.issue_one(holder_key=jwk)
        token = sdjwt.parse(record.sd_jwt)
        confirmed = confirmation_key(token.payload)
        assert confirmed == key.public_key
        now = small.clock.now()
        shown = sdjwt.parse(bind(token, signer=key, audience="窗口", nonce="n", issued_at=now))
        expected: Any = {
            "audience": "窗口",
            "nonce": "n",
            "now": now,
            "max_age": timedelta(minutes=5),
        }
        verify_key_binding(shown, key.public_key, **expected)
        with pytest.raises(VerificationError):
            verify_key_binding(shown, SM2.generate().public_key, **expected)


def test_a_licence_key_of_another_suite_is_refused(running: RunningRegion, own: Suite) -> None:
    token = sdjwt.parse(LicenceFile.parse(running.issue().licence_file).sd_jwt)
    other = suite("ES256" if own is not ES256 else "SM2").generate().public_key
    with pytest.raises(VerificationError) as caught:
        token.verify(other)
    assert caught.value.reason == "ALGORITHM"
    assert AUTHORITY in token.payload["iss"]


def test_a_region_of_sm2_is_served_killed_and_believed(tmp_path: Path) -> None:
    # Real processes: SM2 under a root of ML-DSA-65, TLS of ES256 certified by that root.
    served = ServedRegion.found(tmp_path, suite="SM2", root_suite="ML-DSA-65")
    with served.serve() as server, served.client(server.address) as client:
        licences = client.issue_many(
            [issue_request(f"虚构证字第{number:04}号") for number in range(20)], context=CALLED
        )
        passed = {one.indication for one in client.verify_many(licences, context=CALLED)}
        assert passed == {Indication.TOTAL_PASSED}
        client.suspend(licences[0], reason="虚构事由", legal_basis="虚构法", context=CALLED)
        server.kill()
    with served.serve() as server, served.client(server.address) as client:
        [last] = client.issue_many([issue_request("虚构证字第9999号")], context=CALLED)
        report = client.verify(licences[0], context=CALLED)
        assert report.indication is Indication.TOTAL_FAILED
        pack = client.export_pack(tmp_path / "pack")
    verifier = Verifier.open(pack, pin=served.credentials / "root.json")
    for licence in (*licences[1:], last):
        assert verifier.verify(licence).indication is Indication.TOTAL_PASSED
    altered = bytearray(last.file or b"")
    # In the signature of the issuer's JWT, which the first disclosure follows.
    altered[altered.index(b"~") - 20] ^= 1
    assert verifier.verify(bytes(altered)).indication is not Indication.TOTAL_PASSED
    # A department whose libcrypto has no SM2 verifies all the same, and slower.
    file = last.save(tmp_path / "last.json")
    words = ("verify", str(file), "--pack", str(pack), "--state", str(tmp_path / "state"))
    done = run(*words, "--pin", str(served.credentials / "root.json"), **WITHOUT_SM2)
    assert done.returncode == 0, done.stdout + done.stderr
