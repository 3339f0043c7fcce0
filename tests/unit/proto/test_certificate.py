"""Certificates: what is read, and one attack for each check of a link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from yinxin_proto.certificate import (
    MAX_CERTIFICATE_BYTES,
    Certificate,
    CertificatePurpose,
    parse,
    verify_chain,
    verify_link,
)
from yinxin_proto.der import elements
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.suite import ES256

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

ROOT_KEY = ec.derive_private_key(11, ec.SECP256R1())
CA_KEY = ec.derive_private_key(12, ec.SECP256R1())
LEAF_KEY = ec.derive_private_key(13, ec.SECP256R1())
STRANGER_KEY = ec.derive_private_key(14, ec.SECP256R1())

LICENCE = x509.ObjectIdentifier(CertificatePurpose.LICENCE_SIGNING)
STATUS = x509.ObjectIdentifier(CertificatePurpose.STATUS_SIGNING)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def usage(*flags: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in flags for name in USAGES})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to put in a certificate, and who signs it."""

    subject: str
    issuer: str
    key: ec.EllipticCurvePrivateKey
    signer: ec.EllipticCurvePrivateKey
    ca: bool = False
    path_length: int | None = None
    flags: Sequence[str] = ("digital_signature",)
    purposes: Sequence[x509.ObjectIdentifier] = ()
    authority: ec.EllipticCurvePrivateKey | None = None
    extra: Sequence[tuple[x509.ExtensionType, bool]] = ()
    digest: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA256)
    start: datetime = START
    end: datetime = END

    def der(self) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(self.subject))
            .issuer_name(name(self.issuer))
            .public_key(self.key.public_key())
            .serial_number(7)
            .not_valid_before(self.start)
            .not_valid_after(self.end)
            .add_extension(x509.BasicConstraints(self.ca, self.path_length), critical=True)
            .add_extension(usage(*self.flags), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    (self.authority or self.signer).public_key()
                ),
                critical=False,
            )
        )
        if self.purposes:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage(list(self.purposes)), critical=False
            )
        for extension, critical in self.extra:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.signer, self.digest).public_bytes(Encoding.DER)

    def certificate(self) -> Certificate:
        return parse(self.der())


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


AUTHORITY = ("key_cert_sign", "crl_sign")
ROOT = Plan(
    subject="root",
    issuer="root",
    key=ROOT_KEY,
    signer=ROOT_KEY,
    ca=True,
    path_length=1,
    flags=AUTHORITY,
)
ISSUING = Plan(
    subject="licence ca",
    issuer="root",
    key=CA_KEY,
    signer=ROOT_KEY,
    ca=True,
    path_length=0,
    flags=AUTHORITY,
    purposes=[LICENCE],
)
LEAF = Plan(
    subject="authority",
    issuer="licence ca",
    key=LEAF_KEY,
    signer=CA_KEY,
    flags=("digital_signature", "content_commitment"),
    purposes=[LICENCE],
)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises((MalformedError, VerificationError)) as caught:
        act()
    return caught.value.reason


def chain(leaf: Plan = LEAF, issuing: Plan = ISSUING) -> list[Certificate]:
    return [leaf.certificate(), issuing.certificate()]


def test_what_decisions_need_is_read() -> None:
    uri = "https://putian.example/principals/food-window"
    found = replace(
        LEAF,
        purposes=[CLIENT],
        extra=[
            (
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(uri), x509.DNSName("window.example")]
                ),
                True,
            ),
            (
                x509.CRLDistributionPoints(
                    [
                        x509.DistributionPoint(
                            [x509.UniformResourceIdentifier("http://putian.example/tls.crl")],
                            None,
                            None,
                            None,
                        )
                    ]
                ),
                False,
            ),
        ],
    ).certificate()
    assert found.uris == (uri,)
    assert found.dns_names == ("window.example",)
    assert found.crl_urls == ("http://putian.example/tls.crl",)
    assert found.purposes == {CertificatePurpose.TLS_CLIENT}
    assert found.key_usages == {"digitalSignature", "nonRepudiation"}
    assert (found.is_ca, found.path_length, found.serial_number) == (False, None, 7)
    assert (found.not_before, found.not_after) == (START, END)
    assert found.public_key(ES256).spki == found.spki
    assert found.thumbprint == found.public_key(ES256).thumbprint
    assert len(found.fingerprint) == 32
    assert found.tbs in found.der


def test_a_chain_up_to_its_anchor_holds() -> None:
    root = ROOT.certificate()
    verify_chain(chain(), root, ES256, at=NOON)
    verify_chain([*chain(), root], root, ES256, at=NOON)


def test_an_anchor_of_the_same_name_does_not_hold() -> None:
    false = replace(ROOT, key=STRANGER_KEY, signer=STRANGER_KEY).certificate()
    assert refusal(lambda: verify_chain(chain(), false, ES256, at=NOON)) == "CHAIN_KEY_ID"
    truly_false = replace(ISSUING, signer=STRANGER_KEY, authority=ROOT_KEY)
    assert (
        refusal(
            lambda: verify_chain(chain(issuing=truly_false), ROOT.certificate(), ES256, at=NOON)
        )
        == "CHAIN_SIGNATURE"
    )


@pytest.mark.parametrize("count", [0, 6, 100])
def test_a_chain_is_bounded(count: int) -> None:
    long = [LEAF.certificate()] * count
    assert refusal(lambda: verify_chain(long, ROOT.certificate(), ES256, at=NOON)) == "CHAIN_LENGTH"


def test_an_anchor_alone_is_no_chain() -> None:
    root = ROOT.certificate()
    assert refusal(lambda: verify_chain([root], root, ES256, at=NOON)) == "CHAIN_LENGTH"


@pytest.mark.parametrize(
    ("leaf", "issuing", "why"),
    [
        (replace(LEAF, issuer="another ca"), ISSUING, "CHAIN_NAME"),
        (LEAF, replace(ISSUING, ca=False, path_length=None), "CHAIN_NOT_CA"),
        (LEAF, replace(ISSUING, flags=("crl_sign",)), "CHAIN_NOT_CA"),
        (replace(LEAF, authority=STRANGER_KEY), ISSUING, "CHAIN_KEY_ID"),
        (replace(LEAF, purposes=[STATUS]), ISSUING, "CHAIN_PURPOSE"),
        (replace(LEAF, purposes=[LICENCE, CLIENT]), ISSUING, "CHAIN_PURPOSE"),
        (replace(LEAF, digest=hashes.SHA384()), ISSUING, "CHAIN_ALGORITHM"),
        (replace(LEAF, signer=STRANGER_KEY, authority=CA_KEY), ISSUING, "CHAIN_SIGNATURE"),
        (LEAF, replace(ISSUING, purposes=[STATUS]), "CHAIN_PURPOSE"),
        (replace(LEAF, end=NOON - timedelta(seconds=1)), ISSUING, "CERTIFICATE_EXPIRED"),
        (LEAF, replace(ISSUING, end=NOON - timedelta(seconds=1)), "CERTIFICATE_EXPIRED"),
        (replace(LEAF, start=NOON + timedelta(seconds=1)), ISSUING, "CERTIFICATE_NOT_YET_VALID"),
    ],
)
def test_each_check_of_a_link_has_its_attack(leaf: Plan, issuing: Plan, why: str) -> None:
    root = ROOT.certificate()
    assert refusal(lambda: verify_chain(chain(leaf, issuing), root, ES256, at=NOON)) == why


def test_an_anchor_expires_too() -> None:
    old = replace(ROOT, end=NOON - timedelta(days=1)).certificate()
    assert refusal(lambda: verify_chain(chain(), old, ES256, at=NOON)) == "CERTIFICATE_EXPIRED"


def test_an_authority_does_not_make_authorities_beyond_its_path_length() -> None:
    deeper = replace(
        LEAF, subject="sub ca", key=STRANGER_KEY, ca=True, path_length=0, flags=AUTHORITY
    )
    leaf = replace(LEAF, issuer="sub ca", signer=STRANGER_KEY)
    path = [leaf.certificate(), deeper.certificate(), ISSUING.certificate()]
    root = ROOT.certificate()
    assert refusal(lambda: verify_chain(path, root, ES256, at=NOON)) == "CHAIN_PATH_LENGTH"


def test_an_authority_without_purposes_does_not_shed_those_of_its_issuer() -> None:
    tls = replace(ISSUING, purposes=[CLIENT], path_length=1).certificate()
    free = replace(
        LEAF,
        subject="sub ca",
        key=STRANGER_KEY,
        ca=True,
        path_length=0,
        flags=AUTHORITY,
        purposes=(),
    ).certificate()
    assert refusal(lambda: verify_link(free, tls, ES256, intermediates=1)) == "CHAIN_PURPOSE"


def test_a_leaf_does_not_issue() -> None:
    below = replace(LEAF, subject="x", issuer="authority", signer=LEAF_KEY)
    path = [below.certificate(), *chain()]
    assert refusal(lambda: verify_chain(path, ROOT.certificate(), ES256, at=NOON)) == "CHAIN_NOT_CA"


def test_every_changed_byte_of_the_signed_part_breaks_the_link() -> None:
    good, issuer = LEAF.der(), ISSUING.certificate()
    tbs = parse(good).tbs
    offset = good.index(tbs)
    for place in range(offset, offset + len(tbs), 7):
        changed = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        with pytest.raises((MalformedError, VerificationError)):
            verify_link(parse(changed), issuer, ES256)


def test_an_issuer_under_another_suite_is_refused() -> None:
    other = ec.derive_private_key(5, ec.SECP384R1())
    issuing = replace(ISSUING, key=other)
    leaf = replace(LEAF, signer=other)
    assert refusal(lambda: verify_link(leaf.certificate(), issuing.certificate(), ES256)) == "KEY"


def test_validity_includes_both_ends() -> None:
    found = LEAF.certificate()
    found.check_validity(START)
    found.check_validity(END)
    second = timedelta(seconds=1)
    assert refusal(lambda: found.check_validity(START - second)) == "CERTIFICATE_NOT_YET_VALID"
    assert refusal(lambda: found.check_validity(END + second)) == "CERTIFICATE_EXPIRED"


def test_a_certificate_serves_its_purpose() -> None:
    LEAF.certificate().check_purpose(CertificatePurpose.LICENCE_SIGNING)
    both = replace(LEAF, purposes=[CLIENT, SERVER]).certificate()
    both.check_purpose(CertificatePurpose.TLS_CLIENT)
    both.check_purpose(CertificatePurpose.TLS_SERVER)


@pytest.mark.parametrize(
    "plan",
    [
        replace(LEAF, purposes=[]),
        replace(LEAF, purposes=[STATUS]),
        replace(LEAF, purposes=[LICENCE, STATUS]),
        replace(LEAF, purposes=[LICENCE, CLIENT]),
        replace(LEAF, purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
        replace(LEAF, purposes=[LICENCE, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
        replace(LEAF, flags=("content_commitment",)),
        ISSUING,
    ],
)
def test_a_certificate_serves_no_other_purpose(plan: Plan) -> None:
    found = plan.certificate()
    assert (
        refusal(lambda: found.check_purpose(CertificatePurpose.LICENCE_SIGNING))
        == "CERTIFICATE_PURPOSE"
    )


def test_an_unknown_critical_extension_is_refused() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    directory = x509.NameConstraints([x509.DirectoryName(x509.Name([]))], None)
    excluded = x509.NameConstraints(None, [x509.DNSName("example")])
    for extension in (unknown, directory, excluded):
        plan = replace(LEAF, extra=[(extension, True)])
        assert refusal(plan.certificate) == "CERTIFICATE_EXTENSION"
    assert replace(LEAF, extra=[(unknown, False)]).certificate().serial_number == 7


def test_one_algorithm_inside_and_another_outside_is_refused() -> None:
    good = LEAF.der()
    tbs, outer, signature = elements(good)
    body = tbs + outer[:-1] + b"\x03" + signature
    assert good[:2] == b"\x30\x82"
    assert refusal(lambda: parse(good[:4] + body)) == "CERTIFICATE"


@pytest.mark.parametrize("size", [0, 1, MAX_CERTIFICATE_BYTES])
def test_bytes_that_are_no_certificate_are_refused(size: int) -> None:
    assert refusal(lambda: parse(b"\x30" * size)) == "CERTIFICATE"


def test_a_certificate_is_whole_alone_and_bounded() -> None:
    good = LEAF.der()
    assert refusal(lambda: parse(good[:-1])) == "CERTIFICATE"
    assert refusal(lambda: parse(good + b"\x00")) == "CERTIFICATE"
    assert refusal(lambda: parse(good + bytes(MAX_CERTIFICATE_BYTES))) == "TOO_LARGE"
