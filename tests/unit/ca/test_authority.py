from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509

from support.clock import FixedClock, SeededEntropy
from support.hierarchy import AUTHORITY, ORGANISATION, REGION, Hierarchy
from yinxin_ca import profile
from yinxin_ca.authority import CertificateAuthority, create_root, to_pem
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.register import InMemoryRegister
from yinxin_ca.subject import AlternativeNames, Subject
from yinxin_proto.certificate import CertificatePurpose, parse, verify_chain
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import (
    ConfigurationError,
    FailedPreconditionError,
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
    VerificationError,
)
from yinxin_proto.mldsa import ML_DSA_44
from yinxin_proto.signature import PublicKey
from yinxin_proto.suite import ES256, ML_DSA_65

PURPOSES = {
    "licence": CertificatePurpose.LICENCE_SIGNING,
    "status": CertificatePurpose.STATUS_SIGNING,
    "tls-server": CertificatePurpose.TLS_SERVER,
    "tls-client": CertificatePurpose.TLS_CLIENT,
}


@pytest.fixture
def region() -> Hierarchy:
    return Hierarchy()


@pytest.mark.parametrize("name", PURPOSES)
def test_a_leaf_chains_to_the_root_for_its_purpose_alone(region: Hierarchy, name: str) -> None:
    leaf = region.leaves()[name]
    authority = {"licence": region.licences, "status": region.status}.get(name, region.tls)
    chain = [parse(der) for der in authority.chain(leaf)]
    assert [one.der for one in chain] == [leaf, authority.certificate]
    verify_chain(chain, parse(region.root.certificate), ES256, at=region.clock.now())
    for purpose in CertificatePurpose:
        if purpose is PURPOSES[name]:
            chain[0].check_purpose(purpose)
        else:
            with pytest.raises(VerificationError):
                chain[0].check_purpose(purpose)


def test_a_licence_certificate_names_the_authority_by_its_credit_code(region: Hierarchy) -> None:
    certificate = x509.load_der_x509_certificate(region.licence_certificate())
    assert certificate.subject == AUTHORITY.to_name()
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.content_commitment
    assert not usage.key_cert_sign


def test_a_certificate_says_where_its_authority_publishes(region: Hierarchy) -> None:
    certificate = x509.load_der_x509_certificate(region.status_certificate())
    assert parse(region.status_certificate()).crl_urls == (
        "http://licences.example.cn/crl/status-ca.crl",
    )
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    assert [entry.access_location.value for entry in access.value] == [
        "http://licences.example.cn/ocsp",
        "http://licences.example.cn/ca/status-ca.cer",
    ]


def test_an_authority_key_is_named_by_its_identifier_alone(region: Hierarchy) -> None:
    for der in (*region.leaves().values(), region.licences.certificate):
        certificate = x509.load_der_x509_certificate(der)
        aki = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert aki.key_identifier is not None
        assert aki.authority_cert_issuer is None
        assert aki.authority_cert_serial_number is None


def test_serial_numbers_are_positive_long_and_differ(region: Hierarchy) -> None:
    serials = {parse(region.licence_certificate()).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert {serial.bit_length() for serial in serials} == {159}


def test_validity_starts_a_little_early_and_lasts_as_the_profile_says(region: Hierarchy) -> None:
    region.clock.advance(days=1)
    leaf = parse(region.status_certificate())
    assert leaf.not_before == region.clock.now() - timedelta(minutes=5)
    lasted = leaf.not_after - leaf.not_before + timedelta(seconds=1)
    assert lasted == profile.STATUS.validity


def test_validity_never_leaves_the_authoritys_own(region: Hierarchy) -> None:
    authority = parse(region.licences.certificate)
    root = parse(region.root.certificate)
    assert root.not_before <= authority.not_before <= authority.not_after <= root.not_after
    region.clock.set(authority.not_after - timedelta(days=30))
    leaf = parse(region.licence_certificate())
    assert leaf.not_after == authority.not_after
    region.clock.set(authority.not_after + timedelta(seconds=1))
    with pytest.raises(FailedPreconditionError) as caught:
        region.licence_certificate()
    assert caught.value.reason == "ISSUER_VALIDITY"


def _issue(
    authority: CertificateAuthority,
    kind: profile.Profile,
    *,
    subject: Subject = AUTHORITY,
    key: PublicKey | None = None,
    names: AlternativeNames | None = None,
    not_before: datetime | None = None,
) -> bytes:
    return authority.issue(
        kind,
        subject=subject,
        public_key=ES256.generate().public_key if key is None else key,
        names=AlternativeNames() if names is None else names,
        not_before=not_before,
    )


def test_a_certificate_may_start_later_but_not_earlier(region: Hierarchy) -> None:
    now = region.clock.now()
    later = now + timedelta(days=10, microseconds=5)
    leaf = parse(_issue(region.licences, profile.LICENCE, not_before=later))
    assert leaf.not_before == now + timedelta(days=10)
    with pytest.raises(InvalidArgumentError) as caught:
        _issue(region.licences, profile.LICENCE, not_before=now - timedelta(hours=1))
    assert caught.value.reason == "NOT_BEFORE"
    with pytest.raises(FailedPreconditionError):
        _issue(region.licences, profile.LICENCE, not_before=now + timedelta(days=36_500))


@pytest.mark.parametrize(
    ("authority", "kind"),
    [
        ("root", profile.LICENCE),
        ("root", profile.TLS_CLIENT),
        ("root", profile.ROOT),
        ("root", replace(profile.LICENCE_CA, path_length=2)),
        ("licences", profile.STATUS),
        ("licences", profile.TLS_SERVER),
        ("licences", profile.LICENCE_CA),
        ("licences", replace(profile.LICENCE, purposes=())),
        ("licences", replace(profile.LICENCE, purposes=tuple(CertificatePurpose))),
        ("status", profile.LICENCE),
        ("tls", profile.LICENCE),
        ("tls", profile.STATUS),
    ],
)
def test_an_authority_certifies_within_its_purpose_alone(
    region: Hierarchy, authority: str, kind: profile.Profile
) -> None:
    names = {
        profile.TLS_CLIENT.names: AlternativeNames(uri="https://example.cn/principals/a"),
        profile.TLS_SERVER.names: AlternativeNames(dns=("example.cn",)),
    }.get(kind.names)
    register = region.root_register if authority == "root" else None
    before = register.unfinished() if register else ()
    with pytest.raises(InvalidArgumentError) as caught:
        _issue(getattr(region, authority), kind, names=names)
    assert caught.value.reason == "ISSUER_PURPOSE"
    assert (register.unfinished() if register else ()) == before


def test_names_that_the_profile_has_no_place_for_are_refused(region: Hierarchy) -> None:
    names = AlternativeNames(dns=("example.cn",))
    for authority, kind, given in (
        (region.licences, profile.LICENCE, names),
        (region.tls, profile.TLS_CLIENT, names),
        (region.tls, profile.TLS_SERVER, None),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            _issue(authority, kind, names=names if given else None)
        assert caught.value.reason == "NAME_RULE"


def test_an_authority_gets_no_second_certificate_from_itself(region: Hierarchy) -> None:
    key = region.keys.signer(KeyRef(REGION, Purpose.LICENCE_CA)).public_key
    with pytest.raises(InvalidArgumentError) as caught:
        _issue(region.licences, profile.LICENCE, key=key)
    assert caught.value.reason == "KEY_REUSE"


def test_an_authority_under_the_roots_name_is_refused(region: Hierarchy) -> None:
    subject = Subject(organisation=ORGANISATION, common_name=f"{REGION} Root CA 1")
    with pytest.raises(InvalidArgumentError) as caught:
        _issue(region.root, profile.LICENCE_CA, subject=subject)
    assert caught.value.reason == "ISSUER_NAME_REUSE"


def test_a_compromised_key_is_certified_no_more(region: Hierarchy) -> None:
    key, other = ES256.generate().public_key, ES256.generate().public_key
    stolen = parse(_issue(region.licences, profile.LICENCE, key=key))
    replaced = parse(_issue(region.licences, profile.LICENCE, key=other))
    region.licences.revoke(stolen.serial_number, RevocationReason.KEY_COMPROMISE)
    region.licences.revoke(replaced.serial_number, RevocationReason.SUPERSEDED)
    with pytest.raises(FailedPreconditionError) as caught:
        _issue(region.licences, profile.LICENCE, key=key)
    assert caught.value.reason == "KEY_COMPROMISED"
    _issue(region.licences, profile.LICENCE, key=other)


class _FailingSigner:
    """A signer whose device fails, or returns a bad signature."""

    def __init__(self, public_key: PublicKey, sign: Callable[[bytes], bytes]) -> None:
        self.public_key = public_key
        self._sign = sign

    def sign(self, message: bytes) -> bytes:
        return self._sign(message)


def _with_signer(
    region: Hierarchy, register: InMemoryRegister, sign: Callable[[bytes], bytes]
) -> CertificateAuthority:
    key = region.keys.signer(KeyRef(REGION, Purpose.LICENCE_CA)).public_key
    return CertificateAuthority(
        certificate=region.licences.certificate,
        signer=_FailingSigner(key, sign),
        register=register,
        clock=region.clock,
        entropy=region.entropy,
    )


def test_what_is_signed_was_recorded_before(region: Hierarchy) -> None:
    register = InMemoryRegister()
    real = region.keys.signer(KeyRef(REGION, Purpose.LICENCE_CA))
    seen: list[bytes] = []

    def sign(tbs: bytes) -> bytes:
        seen.extend(record.tbs for record in register.unfinished())
        return real.sign(tbs)

    leaf = parse(_issue(_with_signer(region, register, sign), profile.LICENCE))
    assert seen == [leaf.tbs]
    assert register.unfinished() == ()


def test_a_power_cut_while_signing_leaves_a_record_that_can_be_revoked(region: Hierarchy) -> None:
    register = InMemoryRegister()

    def sign(_: bytes) -> bytes:
        raise KeyboardInterrupt

    authority = _with_signer(region, register, sign)
    with pytest.raises(KeyboardInterrupt):
        _issue(authority, profile.LICENCE)
    (record,) = register.unfinished()
    authority.revoke(record.serial, RevocationReason.CESSATION_OF_OPERATION)
    assert [revoked.serial for revoked in register.revoked()] == [record.serial]


def test_a_bad_signature_is_never_handed_out(region: Hierarchy) -> None:
    register = InMemoryRegister()
    authority = _with_signer(region, register, lambda _: bytes(64))
    with pytest.raises(VerificationError):
        _issue(authority, profile.LICENCE)
    assert len(register.unfinished()) == 1
    with pytest.raises(VerificationError):
        authority.sign_crl(lifetime=timedelta(days=1))
    assert register.crl_number() == 1


def test_an_authority_opens_only_with_its_own_key(region: Hierarchy) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CertificateAuthority(
            certificate=region.licences.certificate,
            signer=ES256.generate(),
            register=InMemoryRegister(),
            clock=region.clock,
            entropy=region.entropy,
        )
    assert caught.value.reason == "CA_KEY_MISMATCH"


def test_a_leaf_is_no_authority(region: Hierarchy) -> None:
    key = ES256.generate()
    leaf = _issue(region.licences, profile.LICENCE, key=key.public_key)
    for certificate, error in ((leaf, ConfigurationError), (leaf[:-1], MalformedError)):
        with pytest.raises(error):
            CertificateAuthority(
                certificate=certificate,
                signer=key,
                register=InMemoryRegister(),
                clock=region.clock,
                entropy=region.entropy,
            )


def test_a_chain_is_given_for_ones_own_certificates_alone(region: Hierarchy) -> None:
    with pytest.raises(NotFoundError) as caught:
        region.status.chain(region.licence_certificate())
    assert caught.value.reason == "CERTIFICATE_NOT_FOUND"
    assert region.root.chain(region.licences.certificate) == (region.licences.certificate,)


def test_a_bundle_reads_back_in_its_order(region: Hierarchy) -> None:
    chain = region.licences.chain(region.licence_certificate())
    loaded = x509.load_pem_x509_certificates(to_pem(chain))
    assert [parse(der).serial_number for der in chain] == [one.serial_number for one in loaded]


def test_a_root_with_another_lifetime_is_a_matter_of_its_profile() -> None:
    clock = FixedClock()
    root = create_root(
        subject=Subject(organisation=ORGANISATION, common_name="short"),
        signer=ES256.generate(),
        register=InMemoryRegister(),
        clock=clock,
        entropy=SeededEntropy(),
        profile=replace(profile.ROOT, validity=timedelta(days=2)),
    )
    certificate = parse(root.certificate)
    assert certificate.not_after == clock.now() + timedelta(days=2, minutes=-5, seconds=-1)
    assert certificate.issuer == certificate.subject
    assert certificate.path_length == 2


def test_a_revocation_is_not_dated_ahead(region: Hierarchy) -> None:
    leaf = parse(region.licence_certificate())
    with pytest.raises(InvalidArgumentError) as caught:
        region.licences.revoke(
            leaf.serial_number,
            RevocationReason.SUPERSEDED,
            at=region.clock.now() + timedelta(seconds=1),
        )
    assert caught.value.reason == "REVOKED_AT"


# --- the parallel root -----------------------------------------------------------

LOG = "licences.example.cn/log/350399/licences/1"


def test_the_parallel_root_certifies_a_logs_ml_dsa_key_alone(region: Hierarchy) -> None:
    key = ML_DSA_44.load_seed(b"\x01" * 32).public_key
    leaf, root = parse(region.cosigner_certificate(LOG, key)), parse(region.parallel.certificate)
    verify_chain([leaf], root, ML_DSA_65, at=region.clock.now())
    leaf.check_purpose(CertificatePurpose.CHECKPOINT_SIGNING)
    assert leaf.uris == (f"https://{LOG}",)
    assert leaf.spki == key.spki
    with pytest.raises(InvalidArgumentError) as caught:
        region.cosigner_certificate(LOG, ES256.load_deterministic(7).public_key)
    assert [violation.reason for violation in caught.value.violations] == ["KEY"]


@pytest.mark.parametrize("kind", [profile.LICENCE, profile.LICENCE_CA, profile.STATUS])
def test_the_parallel_root_certifies_nothing_else(region: Hierarchy, kind: profile.Profile) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        region.parallel.issue(
            kind, subject=AUTHORITY, public_key=ES256.load_deterministic(7).public_key
        )
    assert caught.value.reason == "ISSUER_PURPOSE"


def test_the_regions_root_certifies_no_cosigner(region: Hierarchy) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        region.root.issue(
            profile.COSIGNER,
            subject=Subject(organisation=ORGANISATION, common_name="log cosigner"),
            public_key=ML_DSA_44.load_seed(b"\x01" * 32).public_key,
            names=AlternativeNames(uri=f"https://{LOG}"),
        )
    assert caught.value.reason == "ISSUER_PURPOSE"
