"""A licensed authority outside takes the place of ours; openssl plays it."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from support.licensed_authority import ENCRYPTION, SIGNING, LicensedAuthority
from support.officers import Officers
from support.requests import AUTHORITY, OTHER_AUTHORITY
from support.small_region import SmallRegion
from yinxin_ca import der
from yinxin_ca.envelope import parse_envelope
from yinxin_ca.externalca import ExternalAuthority
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.register import InMemoryRegister
from yinxin_ca.request import request_pem
from yinxin_edge.clock import SystemClock
from yinxin_proto.certificate import parse
from yinxin_proto.crl import RevocationReason
from yinxin_proto.der import elements, integer
from yinxin_proto.error import MalformedError, VerificationError, YinxinError
from yinxin_proto.leaf import evidence_hash
from yinxin_proto.suite import SM2, load_private
from yinxin_trust import schema
from yinxin_trust.certification import ROOT, crl_lifetime, open_authority, put_crls
from yinxin_trust.externalauthority import ExternalCertificates, Pair
from yinxin_trust.ledger import LICENCES, receipt
from yinxin_trust.pack_export import collect, write_zip
from yinxin_trust.refresh import refresh
from yinxin_trust.roottheft import RootTheft
from yinxin_trust.settings import RegionTable
from yinxin_trust.trustlisting import get_anchors
from yinxin_verifier.decision import verify
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.pack import PackLoader
from yinxin_verifier.policy import OFFLINE, Policy
from yinxin_verifier.report import Indication, Report

STRICT = dataclasses.replace(OFFLINE, name="STRICT", require_revocation=True)
AS_AUTHORITY = "basicConstraints=critical,CA:TRUE"
LICENCE = KeyRef(AUTHORITY, Purpose.LICENCE)
SEAL = KeyRef(AUTHORITY, Purpose.SEAL)
OTHER_SEAL = KeyRef(OTHER_AUTHORITY, Purpose.SEAL)


class Office:
    """A region, and what it does with an authority outside."""

    def __init__(self, small: SmallRegion, folder: Path) -> None:
        self.small = small
        self.folder = folder
        # openssl dates by the machine's clock.
        small.clock.set(SystemClock().now().replace(microsecond=0))
        small.clock.advance(minutes=10)
        refresh(small.region)
        self.certificates = ExternalCertificates(registrar=small.region.registrar)

    def pin(self, authority: LicensedAuthority) -> None:
        pinned = ExternalAuthority(
            chain=(authority.der("issuing"), authority.der("root")),
            fingerprint=bytes.fromhex(authority.fingerprint),
        )
        with self.small.region.storage.write() as conn:
            self.certificates.pin(conn, pinned)

    def request(self, ref: KeyRef) -> Path:
        with self.small.region.storage.read() as conn:
            pem = request_pem(self.certificates.request(conn, ref))
        path = self.folder / f"{ref}.csr"
        path.write_bytes(pem)
        return path

    def install(self, ref: KeyRef, der: bytes, pair: Pair | None = None) -> None:
        with self.small.region.storage.write() as conn:
            self.certificates.install(conn, ref, der, pair=pair)

    def put_crl(self, path: Path) -> None:
        with self.small.region.storage.write() as conn:
            self.certificates.put_crl(conn, path.read_bytes())

    def installed(self, ref: KeyRef) -> tuple[bytes, ...]:
        with self.small.region.storage.read() as conn:
            return self.certificates.installed(conn, ref)

    def evidence(self, ref: KeyRef) -> bytes:
        k = schema.authority_key.c
        query = select(k.evidence_hash).where(
            k.authority_code == ref.owner, k.purpose == ref.purpose.value
        )
        with self.small.region.storage.read() as conn:
            return bytes(conn.execute(query).scalar_one())

    def settings(self) -> dict[str, str]:
        with self.small.region.storage.read() as conn:
            return {row.name: row.value for row in conn.execute(select(schema.setting))}

    def close(self, authority: LicensedAuthority) -> None:
        with self.small.region.storage.write() as conn:
            self.certificates.close(conn, bytes.fromhex(authority.fingerprint))

    def take_back(self) -> None:
        """Let the region's root revoke its certificate for the authority."""
        region = self.small.region
        with region.storage.read() as conn:
            anchors = get_anchors(conn)
        root = open_authority(
            ROOT,
            anchors=anchors,
            keyring=region.keyring,
            registers=region.foundation.registers,
            clock=region.clock,
            entropy=region.entropy,
        )
        register = region.foundation.registers(ROOT)
        assert isinstance(register, InMemoryRegister)
        crossed = [record for record in register.records() if record.profile == "cross-licence-ca"]
        root.revoke(crossed[0].serial, RevocationReason.CA_COMPROMISE)
        with region.storage.write() as conn:
            put_crls(conn, {ROOT: root.sign_crl(lifetime=crl_lifetime(ROOT))}, region.clock)
        refresh(region)

    def judge(self, policy: Policy = OFFLINE) -> Report:
        """Issue a licence, and verify it from a pack."""
        record = self.small.issue_one()
        self.small.region.sequence()
        refresh(self.small.region)
        with self.small.region.storage.read() as conn:
            write_zip(collect(conn, self.small.clock.now()), self.folder / "pack.zip")
            licence = record.file(receipt(conn, LICENCES, record.entry))
        loader = PackLoader(trust_first_use=True)
        pack = loader.load(self.folder / "pack.zip", self.small.clock.now())
        return verify(Evidence(licence=licence, trust=pack.trust), policy, self.small.clock.now())


@pytest.fixture(scope="module")
def licensed(tmp_path_factory: pytest.TempPathFactory) -> LicensedAuthority:
    return LicensedAuthority(tmp_path_factory.mktemp("outside") / "p256")


@pytest.fixture(scope="module")
def licensed_sm2(tmp_path_factory: pytest.TempPathFactory) -> LicensedAuthority:
    return LicensedAuthority(tmp_path_factory.mktemp("outside") / "sm2", curve="SM2")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with SmallRegion.found() as small:
        yield Office(small, tmp_path)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A region that accepts nobody outside; for what is refused, and leaves no trace."""
    with SmallRegion.found() as small:
        yield Office(small, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def pinned(
    licensed: LicensedAuthority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Office]:
    """A region that accepts the authority; for what is refused, and leaves no trace."""
    with SmallRegion.found() as small:
        office = Office(small, tmp_path_factory.mktemp("pinned"))
        office.pin(licensed)
        yield office


@pytest.fixture(scope="module")
def sm2_office(
    licensed_sm2: LicensedAuthority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Office]:
    """A region under SM2 that accepts the authority."""
    table = RegionTable(code="350300", domain="putian.example", name="莆田市（示例）", suite="SM2")
    with SmallRegion.found(table=table) as small:
        office = Office(small, tmp_path_factory.mktemp("sm2"))
        office.pin(licensed_sm2)
        yield office


def _reason(act: Callable[[], object]) -> str:
    with pytest.raises(YinxinError) as caught:
        act()
    return caught.value.reason


# --- licences -----------------------------------------------------------------------------


def test_licences_stand_under_a_licensed_authority_until_it_is_taken_back(
    office: Office, licensed: LicensedAuthority
) -> None:
    office.pin(licensed)
    licensed.issue("licence", office.request(LICENCE))
    office.install(LICENCE, licensed.der("licence"))
    assert office.installed(LICENCE) == (licensed.der("licence"), licensed.der("issuing"))
    # Without its revocation list, a strict policy cannot say.
    assert office.judge(STRICT).indication is Indication.INDETERMINATE
    newest = licensed.crl()
    office.put_crl(newest)
    assert _reason(lambda: office.put_crl(newest)) == "CRL_NUMBER"
    report = office.judge(STRICT)
    assert report.indication is Indication.TOTAL_PASSED, report.text
    # Closed, it certifies nothing new; what it certified stands.
    office.close(licensed)
    assert _reason(lambda: office.install(LICENCE, licensed.der("licence"))) == "EXTERNAL_CA"
    assert office.judge().indication is Indication.TOTAL_PASSED
    # Revoked since the trust list was signed, it counts no more.
    office.small.clock.advance(minutes=1)
    office.take_back()
    assert office.judge().indication is not Indication.TOTAL_PASSED


def test_licences_under_a_licensed_authority_outlive_the_root(
    office: Office, licensed: LicensedAuthority
) -> None:
    region = office.small.region
    office.pin(licensed)
    licensed.issue("licence", office.request(LICENCE))
    office.install(LICENCE, licensed.der("licence"))
    office.put_crl(licensed.crl())
    officers = Officers.appoint(region)
    theft = RootTheft(region=region)
    operation, _ = theft.prepare()
    theft.replace([officers.sign(operation)])
    office.small.clock.advance(minutes=1)
    report = office.judge(STRICT)
    assert report.indication is Indication.TOTAL_PASSED, report.text


def test_licences_commit_to_the_outside_list_that_is_here(
    office: Office, licensed: LicensedAuthority
) -> None:
    office.pin(licensed)
    licensed.issue("licence", office.request(LICENCE))
    office.install(LICENCE, licensed.der("licence"))
    chain = office.installed(LICENCE)
    assert office.evidence(LICENCE) == evidence_hash(chain, b"")
    newest = licensed.crl()
    office.put_crl(newest)
    assert office.evidence(LICENCE) == evidence_hash(chain, newest.read_bytes())
    # The region's own lists, signed anew, take nothing from it.
    office.small.clock.advance(days=5)
    refresh(office.small.region)
    assert office.evidence(LICENCE) == evidence_hash(chain, newest.read_bytes())


def test_an_authority_that_nobody_pinned_is_not_taken(
    bare: Office, licensed: LicensedAuthority
) -> None:
    licensed.issue("stranger", bare.request(LICENCE))
    before = bare.settings()
    assert _reason(lambda: bare.install(LICENCE, licensed.der("stranger"))) == "EXTERNAL_CA"
    assert bare.settings() == before


def test_another_authority_under_its_name_is_not_taken(
    pinned: Office, licensed: LicensedAuthority, tmp_path: Path
) -> None:
    # Same names, other keys: what an impostor can make at home.
    impostor = LicensedAuthority(tmp_path / "impostor")
    impostor.issue("licence", pinned.request(LICENCE))
    assert _reason(lambda: pinned.install(LICENCE, impostor.der("licence"))) in {
        "CHAIN_KEY_ID",
        "CHAIN_SIGNATURE",
    }


def test_a_root_is_pinned_by_its_fingerprint(licensed: LicensedAuthority) -> None:
    chain = (licensed.der("issuing"), licensed.der("root"))
    assert _reason(lambda: ExternalAuthority(chain=chain, fingerprint=bytes(32))) == (
        "ANCHOR_FINGERPRINT"
    )
    first = parse(chain[0]).fingerprint
    with pytest.raises(VerificationError):
        ExternalAuthority(chain=chain[::-1], fingerprint=first)


def test_an_authority_that_is_not_pinned_is_not_closed(
    bare: Office, licensed: LicensedAuthority
) -> None:
    assert _reason(lambda: bare.close(licensed)) == "EXTERNAL_CA"


def test_pinning_twice_is_refused(pinned: Office, licensed: LicensedAuthority) -> None:
    assert _reason(lambda: pinned.pin(licensed)) == "EXTERNAL_CA_EXISTS"


# --- what came is what was asked for ------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"subject": "/C=CN/O=虚构机构/2.5.4.97=11350302MBYY00011H"}, "CERTIFICATE_NAME"),
        ({"subject": "/C=CN/O=Another"}, "CERTIFICATE_NAME"),
        ({"subject": "/C=CN/CN=nobody"}, "CERTIFICATE_NAME"),
        ({"extensions": SIGNING[:2] + SIGNING[3:]}, "CERTIFICATE_PROFILE"),
        ({"extensions": ENCRYPTION}, "CERTIFICATE_PROFILE"),
        (
            {"extensions": ("basicConstraints=critical,CA:TRUE", *SIGNING[1:])},
            "CERTIFICATE_PROFILE",
        ),
        (
            {"extensions": (*SIGNING[:2], "extendedKeyUsage=serverAuth", *SIGNING[3:])},
            "CERTIFICATE_PROFILE",
        ),
        ({"days": 3650 - 1}, "CERTIFICATE_PROFILE"),
        ({"days": -1}, "CERTIFICATE_EXPIRED"),
    ],
    ids=["other-code", "other-name", "no-name", "no-eku", "encrypts", "ca", "tls", "long", "ended"],
)
def test_what_was_not_asked_for_is_not_installed(
    pinned: Office, licensed: LicensedAuthority, changes: dict[str, object], reason: str
) -> None:
    licensed.issue("wrong", pinned.request(LICENCE), **changes)  # type: ignore[arg-type]
    before = pinned.settings()
    assert _reason(lambda: pinned.install(LICENCE, licensed.der("wrong"))) == reason
    assert pinned.settings() == before


def test_a_certificate_of_another_key_is_not_installed(
    pinned: Office, licensed: LicensedAuthority
) -> None:
    licensed.issue("seal", pinned.request(SEAL))
    assert _reason(lambda: pinned.install(LICENCE, licensed.der("seal"))) == "CERTIFICATE_KEY"


def test_another_authoritys_certificate_is_not_installed(
    pinned: Office, licensed: LicensedAuthority
) -> None:
    licensed.issue("theirs", pinned.request(OTHER_SEAL))
    assert _reason(lambda: pinned.install(SEAL, licensed.der("theirs"))) in {
        "CERTIFICATE_KEY",
        "KEY_NOT_FOUND",
    }


def test_keys_of_the_region_are_not_certified_outside(pinned: Office) -> None:
    ref = KeyRef(AUTHORITY, Purpose.TLS_CA)
    assert _reason(lambda: pinned.request(ref)) == "KEY_PURPOSE"


def test_a_revocation_list_of_nobody_pinned_is_refused(
    bare: Office, licensed: LicensedAuthority
) -> None:
    assert _reason(lambda: bare.put_crl(licensed.crl())) == "CRL_ISSUER"


# --- pairs -------------------------------------------------------------------------------------


def _pair(office: Office, authority: LicensedAuthority) -> tuple[bytes, Pair]:
    authority.issue("seal", office.request(SEAL))
    text = _openssl_subject(office)
    authority.issue_encryption("seal-encryption", text)
    envelope = authority.envelope("seal-encryption", authority.folder / "seal.pem")
    pair = Pair(certificate=authority.der("seal-encryption"), envelope=envelope)
    return authority.der("seal"), pair


def _openssl_subject(office: Office) -> str:
    with office.small.region.storage.read() as conn:
        name = office.small.region.directory.snapshot(conn).authority(AUTHORITY).name
    return f"/C=CN/O={name}/2.5.4.97={AUTHORITY}"


def test_an_sm2_pair_is_installed_with_its_enveloped_key(
    sm2_office: Office, licensed_sm2: LicensedAuthority
) -> None:
    signing, pair = _pair(sm2_office, licensed_sm2)
    sm2_office.install(SEAL, signing, pair)
    ref = KeyRef(AUTHORITY, Purpose.SEAL_ENCRYPTION)
    stored = sm2_office.small.region.keyring.online.signer(ref)
    assert stored.public_key.spki == parse(pair.certificate).spki
    assert stored.public_key.spki != parse(signing).spki
    assert sm2_office.installed(ref)[0] == pair.certificate
    # The same again changes nothing.
    sm2_office.install(SEAL, signing, pair)


def test_a_licence_of_an_sm2_region_passes_under_a_licensed_authority(
    sm2_office: Office, licensed_sm2: LicensedAuthority
) -> None:
    licensed_sm2.issue("licence", sm2_office.request(LICENCE))
    sm2_office.install(LICENCE, licensed_sm2.der("licence"))
    report = sm2_office.judge()
    assert report.indication is Indication.TOTAL_PASSED, report.text
    assert sm2_office.installed(LICENCE)[0] == licensed_sm2.der("licence")


def test_an_envelope_for_another_key_is_refused_and_nothing_is_kept(
    sm2_office: Office, licensed_sm2: LicensedAuthority
) -> None:
    signing, pair = _pair(sm2_office, licensed_sm2)
    issuing = licensed_sm2.folder / "issuing.pem"
    other = Pair(
        certificate=pair.certificate,
        envelope=licensed_sm2.envelope("seal-encryption", issuing),
    )
    before, keys = sm2_office.settings(), sm2_office.small.region.keyring.online.list()
    assert _reason(lambda: sm2_office.install(SEAL, signing, other)) == "CIPHERTEXT"
    assert sm2_office.settings() == before
    assert sm2_office.small.region.keyring.online.list() == keys


def test_an_envelope_with_another_key_than_the_certificates_is_refused(
    sm2_office: Office, licensed_sm2: LicensedAuthority
) -> None:
    signing, pair = _pair(sm2_office, licensed_sm2)
    licensed_sm2.issue_encryption("another", _openssl_subject(sm2_office))
    swapped = Pair(certificate=licensed_sm2.der("another"), envelope=pair.envelope)
    assert _reason(lambda: sm2_office.install(SEAL, signing, swapped)) == "CERTIFICATE_KEY"


def test_two_holders_are_no_pair(sm2_office: Office, licensed_sm2: LicensedAuthority) -> None:
    signing, _ = _pair(sm2_office, licensed_sm2)
    licensed_sm2.issue_encryption("stranger", "/C=CN/O=Another")
    envelope = licensed_sm2.envelope("stranger", licensed_sm2.folder / "seal.pem")
    pair = Pair(certificate=licensed_sm2.der("stranger"), envelope=envelope)
    assert _reason(lambda: sm2_office.install(SEAL, signing, pair)) == "CERTIFICATE_NAME"


def test_both_spellings_of_an_envelope_open_alike(
    licensed_sm2: LicensedAuthority, tmp_path: Path
) -> None:
    licensed_sm2.issue_encryption("own", "/C=CN/O=Invented")
    encoded = licensed_sm2.envelope("own", licensed_sm2.folder / "issuing.pem")
    path = tmp_path / "issuing.der"
    key = str(licensed_sm2.folder / "issuing.key")
    words = ("-topk8", "-nocrypt", "-in", key, "-outform", "DER", "-out", str(path))
    licensed_sm2.run("pkcs8", *words)
    opener = load_private(path.read_bytes())
    _, cipher, public, sealed = elements(encoded)
    x, y, digest, text = elements(cipher)
    point = der.bits(public)[1:]

    def wide(value: bytes) -> bytes:
        return value.rjust(64, b"\0")

    blob = struct.pack(
        "<III64sI64s64s64s64s32sI",
        1,
        0x401,
        256,
        der.bits(sealed) + bytes(32),
        256,
        wide(point[:32]),
        wide(point[32:]),
        wide(integer(x).to_bytes(32, "big")),
        wide(integer(y).to_bytes(32, "big")),
        digest[2:],
        16,
    )
    spki = parse(licensed_sm2.der("own")).spki
    for spelling in (encoded, blob + text[2:]):
        opened = parse_envelope(spelling).open(opener)  # type: ignore[arg-type]
        assert opened.public_key.spki == spki
        assert opened.public_key.suite is SM2


@pytest.mark.parametrize("content", [b"", b"x", bytes(388), b"\x30\x03\x02\x01\x01", bytes(5000)])
def test_what_is_no_envelope_is_malformed(content: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_envelope(content)


def test_an_authority_whose_time_is_over_is_not_pinned(
    bare: Office, licensed: LicensedAuthority
) -> None:
    bare.small.clock.advance(days=3700)
    try:
        with pytest.raises(VerificationError) as caught:
            bare.pin(licensed)
    finally:
        bare.small.clock.advance(days=-3700)
    assert caught.value.reason == "CERTIFICATE_EXPIRED"
