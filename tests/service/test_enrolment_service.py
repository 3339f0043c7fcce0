"""Enrolment over gRPC: whose key is certified, renewed and revoked, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography import x509

from support.requests import AUTHORITY, OTHER_AUTHORITY
from support.running_region import (
    CONTEXT,
    NOBODY,
    PARENT,
    SECURITY,
    VERIFIER,
    RunningRegion,
    identity,
    nothing_is_made,
    refused,
)
from yinxin_ca.request import make_request
from yinxin_ca.subject import AlternativeNames, Subject, principal_uri
from yinxin_proto.error import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from yinxin_proto.es256 import ES256
from yinxin_proto.signature import Signer, SigningKey
from yinxin_proto.v1.administration_pb2 import (
    CertificateRevocationReason as Reason,
)
from yinxin_proto.v1.administration_pb2 import (
    CreatePrincipalRequest,
    GetRegionRequest,
    Principal,
    RenewCertificateRequest,
    RevokeCertificatesRequest,
)
from yinxin_proto.v1.administration_pb2_grpc import AdministrationServiceStub
from yinxin_trust.peerrevocation import LOOK_AGAIN
from yinxin_trust.refresh import refresh

ANYBODY = Subject(organisation="虚构科室")


def _uri(name: str) -> str:
    return principal_uri("putian.example", name)


def _name(name: str) -> str:
    return f"{PARENT}/principals/{name}"


@pytest.fixture
def stub(stored: RunningRegion) -> Iterator[AdministrationServiceStub]:
    with stored.channel(SECURITY) as channel:
        yield AdministrationServiceStub(channel)


def _create(name: str, csr: bytes) -> CreatePrincipalRequest:
    told = Principal(display_name="虚构科室", authority_code=AUTHORITY)
    return CreatePrincipalRequest(
        context=CONTEXT, parent=PARENT, principal_id=name, principal=told, certificate_request=csr
    )


def _renew(name: str, key: Signer, request_id: str = "") -> RenewCertificateRequest:
    csr = make_request(key, subject=ANYBODY)
    return RenewCertificateRequest(name=_name(name), certificate_request=csr, request_id=request_id)


def _enrolled(
    stored: RunningRegion, stub: AdministrationServiceStub, name: str
) -> tuple[SigningKey, list[bytes]]:
    key = ES256.generate()
    made = stub.CreatePrincipal(_create(name, make_request(key, subject=ANYBODY)))
    return key, list(made.certificate_chain)


def _call(stored: RunningRegion, key: SigningKey, chain: list[bytes]) -> str:
    with stored.channel(identity(stored.region, key, chain)) as channel:
        return AdministrationServiceStub(channel).GetRegion(GetRegionRequest(name=PARENT)).name


# --- renewal ----------------------------------------------------------------------------------


@pytest.mark.parametrize("same_key", [False, True], ids=["new key", "same key"])
def test_a_principal_renews_its_certificate(
    same_key: bool, stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    name = f"renewing-{same_key}".lower()
    key, chain = _enrolled(stored, stub, name)
    following = key if same_key else ES256.generate()
    with stored.channel(identity(stored.region, key, chain)) as channel:
        renewed = AdministrationServiceStub(channel).RenewCertificate(_renew(name, following))
    fresh = list(renewed.certificate_chain)
    assert _call(stored, following, fresh) == PARENT
    # The one before holds until it ends or is revoked: nothing fails in between.
    assert _call(stored, key, chain) == PARENT
    leaf = x509.load_der_x509_certificate(fresh[0])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [_uri(name)]
    assert renewed.expire_time.ToDatetime() == leaf.not_valid_after_utc.replace(tzinfo=None)


def test_the_same_renewal_again_gives_the_same_certificate(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    key, chain = _enrolled(stored, stub, "renewing-again")
    request = _renew("renewing-again", ES256.generate(), request_id=stored.token())
    with stored.channel(identity(stored.region, key, chain)) as channel:
        caller = AdministrationServiceStub(channel)
        assert caller.RenewCertificate(request) == caller.RenewCertificate(request)


def test_nobody_renews_anothers_certificate(stored: RunningRegion) -> None:
    with stored.channel(NOBODY) as channel:
        caller = AdministrationServiceStub(channel)
        error = nothing_is_made(
            stored,
            lambda: caller.RenewCertificate(_renew(VERIFIER, ES256.generate())),
            PermissionDeniedError,
        )
    assert error.reason == "OWN_CERTIFICATE"


@pytest.mark.parametrize(
    ("subject", "names"),
    [
        (Subject(organisation="虚构局", organisation_code=OTHER_AUTHORITY), AlternativeNames()),
        (ANYBODY, AlternativeNames(uri=_uri(VERIFIER))),
        (ANYBODY, AlternativeNames(dns=("licences.putian.example",))),
    ],
    ids=["authority", "principal", "host"],
)
def test_a_request_for_anothers_name_is_refused_and_audited(
    subject: Subject,
    names: AlternativeNames,
    stored: RunningRegion,
    stub: AdministrationServiceStub,
) -> None:
    csr = make_request(ES256.generate(), subject=subject, names=names)
    error = nothing_is_made(
        stored, lambda: stub.CreatePrincipal(_create("impostor", csr)), PermissionDeniedError
    )
    assert error.reason == "REQUEST_NAME"


def test_a_key_that_another_principal_has_is_refused_and_audited(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    key, _ = _enrolled(stored, stub, "first-holder")
    csr = make_request(key, subject=ANYBODY)
    error = nothing_is_made(
        stored, lambda: stub.CreatePrincipal(_create("second", csr)), FailedPreconditionError
    )
    assert error.reason == "KEY_REUSED"


def test_an_authoritys_approval_key_is_not_certified_for_tls(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    csr = make_request(stored.approval_keys[AUTHORITY], subject=ANYBODY)
    error = nothing_is_made(
        stored, lambda: stub.CreatePrincipal(_create("twofold", csr)), FailedPreconditionError
    )
    assert error.reason == "KEY_REUSED"


def test_a_weak_key_is_refused_and_audited(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    csr = make_request(ES256.load_deterministic(1), subject=ANYBODY)
    error = nothing_is_made(
        stored, lambda: stub.CreatePrincipal(_create("weak", csr)), InvalidArgumentError
    )
    assert error.reason == "KEY_WEAK"


# --- revocation ---------------------------------------------------------------------------------


def _revoke(name: str, reason: Reason.ValueType, **members: str) -> RevokeCertificatesRequest:
    return RevokeCertificatesRequest(context=CONTEXT, name=_name(name), reason=reason, **members)


COMPROMISE = Reason.CERTIFICATE_REVOCATION_REASON_KEY_COMPROMISE
SUPERSEDED = Reason.CERTIFICATE_REVOCATION_REASON_SUPERSEDED


def test_a_stolen_certificate_is_refused_within_a_second_and_its_key_for_good(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    key, chain = _enrolled(stored, stub, "stolen-from")
    with stored.channel(identity(stored.region, key, chain)) as channel:
        thief = AdministrationServiceStub(channel)
        own = ES256.generate()
        renewed = list(thief.RenewCertificate(_renew("stolen-from", own)).certificate_chain)
        done = stub.RevokeCertificates(_revoke("stolen-from", COMPROMISE))
        stored.clock.advance(LOOK_AGAIN)
        with refused(UnauthenticatedError):
            thief.GetRegion(GetRegionRequest(name=PARENT))
    # What the thief had certified with the stolen one falls with it.
    assert len(done.serial_numbers) == 2
    with refused(UnauthenticatedError):
        _call(stored, own, renewed)
    csr = make_request(key, subject=ANYBODY)
    with refused(FailedPreconditionError) as caught:
        stub.CreatePrincipal(_create("another-name", csr))
    assert caught[0].reason == "KEY_COMPROMISED"


def test_one_certificate_is_revoked_by_its_serial_number(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    key, chain = _enrolled(stored, stub, "superseding")
    with stored.channel(identity(stored.region, key, chain)) as channel:
        following = ES256.generate()
        renewed = AdministrationServiceStub(channel).RenewCertificate(
            _renew("superseding", following)
        )
    serial = f"{x509.load_der_x509_certificate(chain[0]).serial_number:x}"
    done = stub.RevokeCertificates(_revoke("superseding", SUPERSEDED, serial_number=serial))
    stored.clock.advance(LOOK_AGAIN)
    assert list(done.serial_numbers) == [serial]
    assert _call(stored, following, list(renewed.certificate_chain)) == PARENT
    with refused(UnauthenticatedError):
        _call(stored, key, chain)
    # Said of the one that is revoked: it stays so, and may only get worse.
    again = _revoke("superseding", COMPROMISE, serial_number=serial)
    assert list(stub.RevokeCertificates(again).serial_numbers) == [serial]
    with refused(FailedPreconditionError) as caught:
        stub.RevokeCertificates(_revoke("superseding", SUPERSEDED, serial_number=serial))
    assert caught[0].reason == "ALREADY_REVOKED"


def test_a_key_that_was_revoked_for_less_and_turns_out_stolen_is_certified_no_more(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    key, chain = _enrolled(stored, stub, "late-word")
    following = ES256.generate()
    with stored.channel(identity(stored.region, key, chain)) as channel:
        renewed = AdministrationServiceStub(channel).RenewCertificate(
            _renew("late-word", following)
        )
    serial = f"{x509.load_der_x509_certificate(chain[0]).serial_number:x}"
    stub.RevokeCertificates(_revoke("late-word", SUPERSEDED, serial_number=serial))
    done = stub.RevokeCertificates(_revoke("late-word", COMPROMISE))
    assert serial in done.serial_numbers
    assert len(done.serial_numbers) == 2
    stored.clock.advance(LOOK_AGAIN)
    with refused(UnauthenticatedError):
        _call(stored, following, list(renewed.certificate_chain))
    # Whoever has the key may not have it certified again, under whatever name.
    csr = make_request(key, subject=ANYBODY)
    with refused(FailedPreconditionError) as caught:
        stub.CreatePrincipal(_create("late-word-again", csr))
    assert caught[0].reason == "KEY_COMPROMISED"


def test_revocations_are_published(stored: RunningRegion, stub: AdministrationServiceStub) -> None:
    _enrolled(stored, stub, "published")
    stub.RevokeCertificates(_revoke("published", SUPERSEDED))
    assert refresh(stored.region)
    assert not refresh(stored.region)


def test_anothers_serial_number_is_not_found(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    _, chain = _enrolled(stored, stub, "its-holder")
    serial = f"{x509.load_der_x509_certificate(chain[0]).serial_number:x}"
    request = _revoke(VERIFIER, SUPERSEDED, serial_number=serial)
    error = nothing_is_made(stored, lambda: stub.RevokeCertificates(request), NotFoundError)
    assert error.reason == "CERTIFICATE_NOT_FOUND"


def test_a_revocation_says_why_and_what(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    request = RevokeCertificatesRequest(context=CONTEXT, name=_name(VERIFIER), serial_number="XY")
    error = nothing_is_made(stored, lambda: stub.RevokeCertificates(request), InvalidArgumentError)
    assert {violation.field for violation in error.violations} == {"reason", "serial_number"}


def test_security_administrators_alone_revoke(stored: RunningRegion) -> None:
    with stored.channel(VERIFIER) as channel:
        caller = AdministrationServiceStub(channel)
        request = _revoke(VERIFIER, SUPERSEDED)
        error = nothing_is_made(
            stored, lambda: caller.RevokeCertificates(request), PermissionDeniedError
        )
    assert error.reason == "ROLE"


def test_an_expired_certificate_renews_nothing(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    key, chain = _enrolled(stored, stub, "too-late")
    stored.clock.advance(timedelta(days=366))
    try:
        shown = identity(stored.region, key, chain)
        with stored.channel(shown) as channel, refused(UnauthenticatedError):
            AdministrationServiceStub(channel).RenewCertificate(
                _renew("too-late", ES256.generate())
            )
    finally:
        stored.clock.advance(timedelta(days=-366))
