from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.hierarchy import REGION, Hierarchy
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.crl import MAX_CRL_BYTES, RevocationReason, parse_crl
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.suite import ES256

DAY = timedelta(days=1)


@pytest.fixture
def region() -> Hierarchy:
    return Hierarchy()


@pytest.fixture
def issuer(region: Hierarchy) -> Certificate:
    return parse(region.licences.certificate)


def test_a_revoked_certificate_is_on_the_next_list_with_date_and_reason(
    region: Hierarchy, issuer: Certificate
) -> None:
    good = parse(region.licence_certificate()).serial_number
    bad = parse(region.licence_certificate()).serial_number
    region.clock.advance(DAY)
    revoked_at = region.clock.now()
    region.licences.revoke(bad, RevocationReason.KEY_COMPROMISE)
    region.clock.advance(DAY)
    crl = parse_crl(region.licences.sign_crl(lifetime=7 * DAY)).verify(issuer, suite=ES256)
    entry = crl.revocation(bad, region.clock.now())
    assert entry is not None
    assert (entry.reason, entry.revoked_at) == (RevocationReason.KEY_COMPROMISE, revoked_at)
    assert crl.is_revoked(bad, revoked_at)
    assert not crl.is_revoked(bad, revoked_at - timedelta(seconds=1))
    assert not crl.is_revoked(good, region.clock.now())
    assert crl.issuer == issuer.subject


@pytest.mark.parametrize("reason", RevocationReason)
def test_every_reason_reads_back(
    region: Hierarchy, issuer: Certificate, reason: RevocationReason
) -> None:
    serial = parse(region.licence_certificate()).serial_number
    region.licences.revoke(serial, reason)
    crl = parse_crl(region.licences.sign_crl(lifetime=DAY)).verify(issuer, suite=ES256)
    assert crl.entries[serial].reason is reason


def test_list_numbers_grow_and_each_list_says_when_it_holds(
    region: Hierarchy, issuer: Certificate
) -> None:
    numbers = []
    for _ in range(3):
        der = region.licences.sign_crl(lifetime=DAY)
        numbers.append(parse_crl(der).verify(issuer, suite=ES256).number)
    assert numbers == [1, 2, 3]
    crl = parse_crl(region.licences.sign_crl(lifetime=DAY)).verify(issuer, suite=ES256)
    now = region.clock.now()
    assert (crl.this_update, crl.next_update) == (now, now + DAY)
    assert crl.is_current(now)
    assert not crl.is_current(now - timedelta(seconds=1))
    assert not crl.is_current(now + DAY)


def test_a_revocation_outlives_the_certificate(region: Hierarchy, issuer: Certificate) -> None:
    leaf = parse(region.licence_certificate())
    region.licences.revoke(leaf.serial_number, RevocationReason.SUPERSEDED)
    region.clock.set(leaf.not_after + DAY)
    crl = parse_crl(region.licences.sign_crl(lifetime=DAY)).verify(issuer, suite=ES256)
    assert crl.is_revoked(leaf.serial_number, leaf.not_after)


def test_an_earlier_date_may_be_given(region: Hierarchy, issuer: Certificate) -> None:
    serial = parse(region.licence_certificate()).serial_number
    noticed = region.clock.now()
    region.clock.advance(DAY)
    region.licences.revoke(serial, RevocationReason.KEY_COMPROMISE, at=noticed)
    crl = parse_crl(region.licences.sign_crl(lifetime=DAY)).verify(issuer, suite=ES256)
    assert crl.is_revoked(serial, noticed)


def test_a_list_without_a_lifetime_is_not_made(region: Hierarchy) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        region.licences.sign_crl(lifetime=timedelta(0))
    assert caught.value.reason == "CRL_LIFETIME"


def test_another_authoritys_list_is_refused(region: Hierarchy, issuer: Certificate) -> None:
    foreign = parse_crl(region.status.sign_crl(lifetime=DAY))
    with pytest.raises(VerificationError) as caught:
        foreign.verify(issuer, suite=ES256)
    assert caught.value.reason == "CRL_ISSUER"


def test_a_list_by_a_namesake_with_another_key_is_refused(issuer: Certificate) -> None:
    namesake = Hierarchy()
    assert parse(namesake.licences.certificate).subject == issuer.subject
    forged = parse_crl(namesake.licences.sign_crl(lifetime=DAY))
    with pytest.raises(VerificationError) as caught:
        forged.verify(issuer, suite=ES256)
    assert caught.value.reason == "CRL_ISSUER"
    with pytest.raises(VerificationError) as caught:
        forged.verify(replace(issuer, subject_key_id=_key_id(namesake)), suite=ES256)
    assert caught.value.reason == "CRL_SIGNATURE"


def _key_id(region: Hierarchy) -> bytes | None:
    return parse(region.licences.certificate).subject_key_id


def test_a_certificate_that_signs_no_lists_verifies_none(
    region: Hierarchy, issuer: Certificate
) -> None:
    crl = parse_crl(region.licences.sign_crl(lifetime=DAY))
    for other in (
        replace(issuer, is_ca=False),
        replace(issuer, key_usages=frozenset({"keyCertSign", "digitalSignature"})),
    ):
        with pytest.raises(VerificationError) as caught:
            crl.verify(other, suite=ES256)
        assert caught.value.reason == "CRL_KEY_USAGE"


def _build(
    region: Hierarchy,
    *,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    entries: tuple[x509.RevokedCertificate, ...] = (),
    numbered: bool = True,
    algorithm: hashes.SHA256 | hashes.SHA384 | None = None,
) -> bytes:
    """A list as another program might sign it, with the licence authority's own key."""
    ref = KeyRef(REGION, Purpose.LICENCE_CA)
    key = serialization.load_der_private_key(
        region.keys._key(ref).to_pkcs8(),
        None,
    )
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateRevocationListBuilder(revoked_certificates=list(entries))
    builder = builder.issuer_name(
        x509.load_der_x509_certificate(region.licences.certificate).subject
    )
    now = region.clock.now()
    builder = builder.last_update(now).next_update(now + DAY)
    if numbered:
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    crl = builder.sign(key, algorithm or hashes.SHA256())
    return crl.public_bytes(serialization.Encoding.DER)


def _entry(
    serial: int, at: datetime, *extensions: tuple[x509.ExtensionType, bool]
) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.build()


def test_a_list_of_another_program_reads_the_same(region: Hierarchy, issuer: Certificate) -> None:
    now = region.clock.now()
    der = _build(region, entries=(_entry(5, now), _entry(6, now), _entry(5, now - DAY)))
    crl = parse_crl(der).verify(issuer, suite=ES256)
    assert sorted(crl.entries) == [5, 6]
    assert crl.entries[5].revoked_at == now - DAY


_PARTIAL = x509.IssuingDistributionPoint(
    full_name=None,
    relative_name=None,
    only_contains_user_certs=True,
    only_contains_ca_certs=False,
    only_some_reasons=None,
    indirect_crl=False,
    only_contains_attribute_certs=False,
)


_HERE = x509.UniformResourceIdentifier("http://licences.example.cn/crl/a-s1.crl")


def _scope(**limits: object) -> x509.IssuingDistributionPoint:
    arguments: dict[str, object] = {
        "full_name": [_HERE],
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**arguments | limits)  # type: ignore[arg-type]


def test_a_shard_speaks_for_certificates_that_name_it_alone(
    region: Hierarchy, issuer: Certificate
) -> None:
    region.locate_licences(shards=2)
    leaf = parse(region.licence_certificate())
    own, other = leaf.crl_urls[0], leaf.crl_urls[0].replace(".crl", "0.crl")
    for url, covers in ((own, True), (other, False)):
        scope = _scope(full_name=[x509.UniformResourceIdentifier(url)])
        listed = parse_crl(_build(region, extensions=((scope, True),))).verify(issuer, suite=ES256)
        assert listed.addresses == (url,)
        assert listed.covers(leaf) is covers
    complete = parse_crl(_build(region)).verify(issuer, suite=ES256)
    assert complete.covers(leaf)
    assert not complete.covers(parse(region.status_certificate()))


@pytest.mark.parametrize(
    "extension",
    [
        # Not critical: who does not know it would take the shard for the whole.
        (_scope(), False),
        (_scope(only_contains_user_certs=True), True),
        (_scope(only_contains_ca_certs=True), True),
        (_scope(indirect_crl=True), True),
        (_scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})), True),
        (_scope(full_name=[x509.DirectoryName(x509.Name([]))]), True),
        (_scope(full_name=[_HERE, x509.DNSName("a.example")]), True),
        (_scope(full_name=[_HERE] * 9), True),
        (x509.DeltaCRLIndicator(1), False),
        (x509.DeltaCRLIndicator(1), True),
        (_PARTIAL, True),
        (_PARTIAL, False),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True),
    ],
)
def test_a_list_that_does_not_say_everything_is_refused(
    region: Hierarchy, extension: tuple[x509.ExtensionType, bool]
) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_crl(_build(region, extensions=(extension,)))
    assert caught.value.reason == "CRL_EXTENSION"


def test_an_entry_that_may_be_another_authoritys_is_refused(region: Hierarchy) -> None:
    name = x509.DirectoryName(x509.Name([]))
    entry = _entry(5, region.clock.now(), (x509.CertificateIssuer([name]), True))
    with pytest.raises(MalformedError) as caught:
        parse_crl(_build(region, entries=(entry,)))
    assert caught.value.reason == "CRL_EXTENSION"


def test_an_entry_that_takes_itself_back_is_refused(region: Hierarchy) -> None:
    gone = (x509.CRLReason(x509.ReasonFlags.remove_from_crl), False)
    with pytest.raises(MalformedError) as caught:
        parse_crl(_build(region, entries=(_entry(5, region.clock.now(), gone),)))
    assert caught.value.reason == "CRL"


def test_a_list_without_a_number_is_refused(region: Hierarchy) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_crl(_build(region, numbered=False))
    assert caught.value.reason == "CRL"


def test_a_list_under_another_algorithm_is_refused(region: Hierarchy, issuer: Certificate) -> None:
    crl = parse_crl(_build(region, algorithm=hashes.SHA384()))
    with pytest.raises(VerificationError) as caught:
        crl.verify(issuer, suite=ES256)
    assert caught.value.reason == "CRL_ALGORITHM"


def test_a_list_beyond_a_bound_is_refused(region: Hierarchy) -> None:
    now = region.clock.now()
    der = _build(region, entries=tuple(_entry(serial, now) for serial in range(1, 12)))
    with pytest.raises(MalformedError) as caught:
        parse_crl(der, max_entries=10)
    assert caught.value.reason == "TOO_LARGE"
    with pytest.raises(MalformedError) as caught:
        parse_crl(bytes(MAX_CRL_BYTES + 1))
    assert caught.value.reason == "TOO_LARGE"


@pytest.mark.parametrize("data", [b"", b"\x30\x00", b"not a list"])
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_crl(data)
    assert caught.value.reason == "CRL"


def test_a_certificate_is_no_list(region: Hierarchy) -> None:
    with pytest.raises(MalformedError):
        parse_crl(region.licences.certificate)
