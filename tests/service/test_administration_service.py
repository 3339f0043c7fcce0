"""Administration over gRPC: principals, roles, the trail, preflight."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import update

from support.requests import AUTHORITY
from support.running_region import (
    AUDITOR,
    CONTEXT,
    ISSUER,
    NOBODY,
    PARENT,
    PRINCIPALS,
    SECURITY,
    SYSTEM,
    VERIFIER,
    RunningRegion,
    identity,
    nothing_is_made,
    refused,
    violations,
)
from yinxin_proto.error import (
    AlreadyExistsError,
    ConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from yinxin_proto.es256 import ES256
from yinxin_proto.signature import SigningKey
from yinxin_proto.v1.administration_pb2 import (
    AssignRoleRequest,
    CreatePrincipalRequest,
    GetRegionRequest,
    ListAuditRecordsRequest,
    ListPrincipalsRequest,
    Principal,
    Role,
    RunPreflightRequest,
    WithdrawRoleRequest,
)
from yinxin_proto.v1.administration_pb2_grpc import AdministrationServiceStub
from yinxin_trust import schema


@pytest.fixture
def stub(stored: RunningRegion) -> Iterator[AdministrationServiceStub]:
    with stored.channel(SECURITY) as channel:
        yield AdministrationServiceStub(channel)


def _csr(key: SigningKey) -> bytes:
    private = load_der_private_key(key.to_pkcs8(), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    # What it says of its subject is not believed.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the minister")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.DER)


def _create(principal_id: str, request: bytes = b"", **members: str) -> CreatePrincipalRequest:
    return CreatePrincipalRequest(
        context=CONTEXT,
        parent=PARENT,
        principal_id=principal_id,
        principal=Principal(display_name="虚构科室", authority_code=AUTHORITY),
        certificate_request=request,
        **members,
    )


def _name(principal_id: str) -> str:
    return f"{PARENT}/principals/{principal_id}"


def _roles(principal: Principal) -> list[int]:
    return [
        assignment.role
        for assignment in principal.role_assignments
        if not assignment.HasField("withdraw_time")
    ]


# --- the region --------------------------------------------------------------------------


def test_the_region_describes_itself(stored: RunningRegion) -> None:
    with stored.channel(NOBODY) as channel:
        region = AdministrationServiceStub(channel).GetRegion(GetRegionRequest(name=PARENT))

    assert region.domain == "putian.example"
    assert region.suite == "ES256"
    assert list(region.log_origins) == [
        "putian.example/log/350300/licences/1",
        "putian.example/log/350300/uses/1",
    ]
    # Founded, and two authorities added.
    assert region.trust_list_version == 3
    assert region.software_version


# --- principals ----------------------------------------------------------------------------


def test_a_principal_is_enrolled_certified_and_given_a_role(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    key = ES256.generate()
    made = stub.CreatePrincipal(_create("street-office", _csr(key)))
    assigned = stub.AssignRole(
        AssignRoleRequest(context=CONTEXT, name=made.name, role=Role.ROLE_AUDITOR, etag=made.etag)
    )
    shown = identity(stored.region, key, list(made.certificate_chain))
    with stored.channel(shown) as channel:
        records = AdministrationServiceStub(channel).ListAuditRecords(
            ListAuditRecordsRequest(context=CONTEXT, parent=PARENT, page_size=1)
        )

    assert made.uri == "https://putian.example/principals/street-office"
    leaf = x509.load_der_x509_certificate(made.certificate_chain[0])
    assert "minister" not in leaf.subject.rfc4514_string()
    assert _roles(assigned) == [Role.ROLE_AUDITOR]
    assert assigned.etag != made.etag
    assert not assigned.certificate_chain
    assert len(records.audit_records) == 1


def test_the_same_request_again_gives_the_same_certificate(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    request = _create("archive", _csr(ES256.generate()), request_id=stored.token())

    first = stub.CreatePrincipal(request)
    sizes = stored.table_sizes()
    again = stub.CreatePrincipal(request)

    assert again == first
    assert stored.table_sizes() == sizes
    request.principal_id = "archive-2"
    nothing_is_made(stored, lambda: stub.CreatePrincipal(request), ConflictError)


def test_a_name_is_taken_once(stored: RunningRegion, stub: AdministrationServiceStub) -> None:
    error = nothing_is_made(
        stored,
        lambda: stub.CreatePrincipal(_create(VERIFIER, _csr(ES256.generate()))),
        AlreadyExistsError,
    )

    assert error.reason == "PRINCIPAL_EXISTS"


def test_every_fault_of_a_principal_is_named_at_once(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    request = CreatePrincipalRequest(
        context=CONTEXT,
        parent="regions/1",
        principal_id="Not a name",
        principal=Principal(display_name="", authority_code="x"),
        certificate_request=b"x",
    )

    error = nothing_is_made(stored, lambda: stub.CreatePrincipal(request), InvalidArgumentError)

    assert violations(error).keys() == {
        "parent",
        "principal_id",
        "principal.display_name",
        "principal.authority_code",
        "certificate_request",
    }


def _unproven() -> bytes:
    """A request whose signature is of another key: no proof of possession."""
    der = bytearray(_csr(ES256.generate()))
    der[-1] ^= 1
    return bytes(der)


def _of_rsa() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _of_another_curve() -> bytes:
    key = ec.generate_private_key(ec.SECP384R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_unproven, "PROOF_OF_POSSESSION"),
        (_of_rsa, "KEY_SUITE"),
        (_of_another_curve, "KEY_WEAK"),
    ],
)
def test_a_key_is_certified_for_whoever_proves_to_have_it(
    make: Callable[[], bytes],
    reason: str,
    stored: RunningRegion,
    stub: AdministrationServiceStub,
) -> None:
    request = _create("forger", make())

    error = nothing_is_made(stored, lambda: stub.CreatePrincipal(request), InvalidArgumentError)

    assert error.reason == reason


def test_what_is_no_request_is_named_as_a_field(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    request = _create("forger", b"0" * 9000)

    error = nothing_is_made(stored, lambda: stub.CreatePrincipal(request), InvalidArgumentError)

    assert violations(error) == {"certificate_request": "CERTIFICATE_REQUEST"}


def test_principals_are_listed_by_name(stored: RunningRegion) -> None:
    names: list[str] = []
    token = ""
    with stored.channel(AUDITOR) as channel:
        stub = AdministrationServiceStub(channel)
        while True:
            page = stub.ListPrincipals(
                ListPrincipalsRequest(context=CONTEXT, parent=PARENT, page_size=3, page_token=token)
            )
            names += [principal.name for principal in page.principals]
            token = page.next_page_token
            if not token:
                break

    assert names == sorted(names)
    assert {_name(principal) for principal in PRINCIPALS} <= set(names)


# --- roles -----------------------------------------------------------------------------------


def test_a_withdrawn_role_stays_on_record(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    name = stub.CreatePrincipal(_create("branch")).name
    members = {"context": CONTEXT, "name": name, "role": Role.ROLE_VERIFIER}
    stub.AssignRole(AssignRoleRequest(**members))  # type: ignore[arg-type]
    again = stub.AssignRole(AssignRoleRequest(**members))  # type: ignore[arg-type]
    withdrawn = stub.WithdrawRole(WithdrawRoleRequest(**members))  # type: ignore[arg-type]
    anew = stub.AssignRole(AssignRoleRequest(**members))  # type: ignore[arg-type]

    assert _roles(again) == [Role.ROLE_VERIFIER]
    assert _roles(withdrawn) == []
    assert len(withdrawn.role_assignments) == 1
    assert _roles(anew) == [Role.ROLE_VERIFIER]
    assert len(anew.role_assignments) == 2


def test_roles_that_exclude_each_other_are_not_given_to_one(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    request = AssignRoleRequest(
        context=CONTEXT, name=_name(AUDITOR), role=Role.ROLE_SYSTEM_ADMINISTRATOR
    )

    error = nothing_is_made(stored, lambda: stub.AssignRole(request), FailedPreconditionError)

    assert error.reason == "ROLE_EXCLUSIVE"


def test_nobody_changes_their_own_roles(
    stored: RunningRegion, stub: AdministrationServiceStub
) -> None:
    request = AssignRoleRequest(context=CONTEXT, name=_name(SECURITY), role=Role.ROLE_ISSUER)

    error = nothing_is_made(stored, lambda: stub.AssignRole(request), PermissionDeniedError)

    assert error.reason == "OWN_ROLES"


def test_a_stale_etag_is_a_conflict(stored: RunningRegion, stub: AdministrationServiceStub) -> None:
    made = stub.CreatePrincipal(_create("outpost"))
    stub.AssignRole(AssignRoleRequest(context=CONTEXT, name=made.name, role=Role.ROLE_VERIFIER))
    request = AssignRoleRequest(
        context=CONTEXT, name=made.name, role=Role.ROLE_ISSUER, etag=made.etag
    )

    nothing_is_made(stored, lambda: stub.AssignRole(request), ConflictError)


def test_what_is_no_role_is_refused(stored: RunningRegion, stub: AdministrationServiceStub) -> None:
    nothing_is_made(
        stored,
        lambda: stub.AssignRole(AssignRoleRequest(context=CONTEXT, name=_name(VERIFIER))),
        InvalidArgumentError,
    )
    nothing_is_made(
        stored,
        lambda: stub.AssignRole(
            AssignRoleRequest(context=CONTEXT, name=_name("nobody-here"), role=Role.ROLE_ISSUER)
        ),
        NotFoundError,
    )
    nothing_is_made(
        stored,
        lambda: stub.WithdrawRole(
            WithdrawRoleRequest(context=CONTEXT, name=_name(VERIFIER), role=Role.ROLE_ISSUER)
        ),
        NotFoundError,
    )


# --- the trail ---------------------------------------------------------------------------------


def test_the_trail_is_told_to_auditors_oldest_first(stored: RunningRegion) -> None:
    licence = stored.issue()
    stored.clock.advance(seconds=5)
    since = Timestamp()
    since.FromDatetime(stored.clock.now())
    with stored.channel(VERIFIER) as channel, refused(PermissionDeniedError):
        AdministrationServiceStub(channel).ListAuditRecords(
            ListAuditRecordsRequest(context=CONTEXT, parent=PARENT)
        )
    with stored.channel(AUDITOR) as channel:
        stub = AdministrationServiceStub(channel)
        about = stub.ListAuditRecords(
            ListAuditRecordsRequest(context=CONTEXT, parent=PARENT, target=licence.name)
        ).audit_records
        later = stub.ListAuditRecords(
            ListAuditRecordsRequest(
                context=CONTEXT, parent=PARENT, principal=_name(VERIFIER), start_time=since
            )
        ).audit_records

    (issued,) = about
    assert issued.method == "yinxin.v1.IssuanceService/IssueLicence"
    assert issued.principal == _name(ISSUER)
    assert issued.code == "OK"
    assert issued.context == CONTEXT
    (denied,) = later
    assert (denied.code, denied.reason) == ("PERMISSION_DENIED", "ROLE")
    assert denied.method == "yinxin.v1.AdministrationService/ListAuditRecords"


def test_the_trail_is_paged(stored: RunningRegion) -> None:
    seen: list[str] = []
    request = ListAuditRecordsRequest(context=CONTEXT, parent=PARENT, page_size=7)
    with stored.channel(AUDITOR) as channel:
        stub = AdministrationServiceStub(channel)
        for _ in range(4):
            page = stub.ListAuditRecords(request)
            seen += [record.name for record in page.audit_records]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break

    assert len(seen) == len(set(seen))


# --- preflight -----------------------------------------------------------------------------------


def test_preflight_passes_and_names_what_was_altered(stored: RunningRegion) -> None:
    stored.issue()
    request = RunPreflightRequest(context=CONTEXT, parent=PARENT)
    h = schema.log_head
    with stored.channel(SYSTEM) as channel:
        stub = AdministrationServiceStub(channel)
        sound = stub.RunPreflight(request)
        stored.paused.set()
        try:
            with stored.region.storage.write() as conn:
                root = conn.execute(h.select().where(h.c.log_number == 1)).one().root
                conn.execute(update(h).where(h.c.log_number == 1).values(root=bytes(32)))
            altered = stub.RunPreflight(request)
        finally:
            with stored.region.storage.write() as conn:
                conn.execute(update(h).where(h.c.log_number == 1).values(root=bytes(root)))
            stored.paused.clear()

    assert sound.passed
    assert not altered.passed
    assert altered.findings[0].text.en
