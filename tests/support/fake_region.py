"""A small real region behind real gRPC, for whoever calls one: no database, no patches.

It checks approvals, issues and logs through `RegionBuilder`, judges with the
real decision engine, remembers request ids, and keeps what it was called with.
Rules of the catalogue and of the lifecycle are the service's own tests' to try.
"""

# ruff: noqa: ANN401, N802 - the contracts' method names, and messages made at run time

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from cryptography.hazmat.primitives import serialization as s
from google.protobuf.message import Message

from support.clock import FixedClock, SeededEntropy
from support.fake_publication import PublicServices, take_page
from support.hierarchy import REGION
from support.region_builder import CODE, STATUS_URI, TYPE, Issued, RegionBuilder
from yinxin.credentials import ApprovalKey, Credentials
from yinxin.licence import LicenceState, Operation, moment, timestamp
from yinxin_edge.clock import SystemClock
from yinxin_edge.interceptor import CallLimits
from yinxin_edge.journal import Journal
from yinxin_edge.principal import Principal
from yinxin_edge.server import Server, ServerSettings, Service
from yinxin_proto import pem as pem_format
from yinxin_proto.approval import ChangeRequest, IssueRequest, parse_approval, request_digest
from yinxin_proto.error import (
    ConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    Violation,
    YinxinError,
)
from yinxin_proto.name import LicenceName, TypeName, parse_region_code
from yinxin_proto.suite import ES256, SigningKey
from yinxin_proto.v1 import (
    catalogue_pb2,
    catalogue_pb2_grpc,
    issuance_pb2,
    issuance_pb2_grpc,
    licence_pb2,
    licence_pb2_grpc,
    log_pb2,
    log_pb2_grpc,
    repository_pb2,
    repository_pb2_grpc,
    status_pb2,
    status_pb2_grpc,
    subject_pb2,
    subject_pb2_grpc,
    verification_pb2,
    verification_pb2_grpc,
)
from yinxin_trust.service.report_message import report_message
from yinxin_verifier import decision
from yinxin_verifier.evidence import Evidence, TrustSet
from yinxin_verifier.policy import OFFLINE, ONLINE

_POLICIES: Final = {"": ONLINE, "ONLINE": ONLINE, "OFFLINE": OFFLINE}
_TARGETS: Final = {
    Operation.SUSPEND: LicenceState.SUSPENDED,
    Operation.REINSTATE: LicenceState.VALID,
    Operation.REVOKE: LicenceState.REVOKED,
    Operation.CANCEL: LicenceState.CANCELLED,
    Operation.FREEZE: LicenceState.FROZEN,
    Operation.LOSE: LicenceState.LOST,
    Operation.ANNUL: LicenceState.ANNULLED,
    Operation.WITHDRAW: LicenceState.WITHDRAWN,
}


@dataclass
class Kept:
    """One licence that the region keeps."""

    request: IssueRequest
    issued: Issued
    state: LicenceState = LicenceState.VALID
    events: list[licence_pb2.LicenceEvent] = field(default_factory=list)


class FakeRegion(
    PublicServices,
    issuance_pb2_grpc.IssuanceServiceServicer,
    licence_pb2_grpc.LicenceServiceServicer,
    verification_pb2_grpc.VerificationServiceServicer,
):
    """All contracts of one region that the SDK calls."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FixedClock(SystemClock().now())
        self.builder = RegionBuilder(clock=self.clock)
        self.approval_key: SigningKey = ES256.load_deterministic(777)
        self.calls: list[Any] = []
        self.kept: dict[str, Kept] = {}
        self._lock = threading.Lock()
        self.requests: dict[str, tuple[bytes, list[str]]] = {}
        self.failures: list[YinxinError] = []
        """Raised by the next calls, one each."""
        self.delay = 0.0
        """Seconds before each answer."""
        self.lost_answers = 0
        """So many next calls are done, and their answers lost."""

    # --- what tests look at ---------------------------------------------------------

    @property
    def last(self) -> Any:
        """The last request that came."""
        return self.calls[-1]

    def credentials(self, **changes: Any) -> Credentials:
        """Return an authority's credentials for a plain connection."""
        members = {
            "region": parse_region_code(REGION),
            "domain": self.builder.domain,
            "authority": CODE,
            "approval_key": ApprovalKey(pem(self.approval_key)),
        }
        return Credentials(**{**members, **changes})

    @contextmanager
    def serve(self, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
        """Serve on a free port of loopback; yields the address."""
        server = Server(
            settings=ServerSettings(
                listen="127.0.0.1:0",
                threads=8,
                stream_threads=1,
                limits=CallLimits(max_request_bytes=16 << 20),
                share_port=False,
            ),
            services=self._services(),
            credentials=credentials,
            identify=lambda _: Principal(
                domain=self.builder.domain, identifier="somebody", certificate_hash=bytes(32)
            ),
            journal=Journal(clock=self.clock, stream=io.StringIO()),
            entropy=SeededEntropy(),
        )
        server.start()
        try:
            yield f"127.0.0.1:{server.port}"
        finally:
            server.stop()

    def _services(self) -> list[Service]:
        modules = (
            ("Issuance", issuance_pb2, issuance_pb2_grpc),
            ("Licence", licence_pb2, licence_pb2_grpc),
            ("Verification", verification_pb2, verification_pb2_grpc),
            ("Catalogue", catalogue_pb2, catalogue_pb2_grpc),
            ("Subject", subject_pb2, subject_pb2_grpc),
            ("Log", log_pb2, log_pb2_grpc),
            ("Status", status_pb2, status_pb2_grpc),
            ("Repository", repository_pb2, repository_pb2_grpc),
        )
        return [
            Service(
                descriptor=messages.DESCRIPTOR.services_by_name[f"{name}Service"],
                servicer=self,
                register=getattr(stubs, f"add_{name}ServiceServicer_to_server"),
            )
            for name, messages, stubs in modules
        ]

    def _came(self, request: Message) -> None:
        copy = type(request)()
        copy.CopyFrom(request)
        self.calls.append(copy)
        time.sleep(self.delay)
        if self.failures:
            raise self.failures.pop(0)

    def logged(self) -> list[Issued]:
        return [kept.issued for kept in self.kept.values()]

    # --- issuance -------------------------------------------------------------------

    def IssueLicence(self, request: Any, context: Any) -> licence_pb2.Licence:
        self._came(request)
        (name,) = self._issue([request.request], request.approval, request.request_id)
        self._lose()
        return self._message(name, with_file=not request.return_immediately)

    def BatchIssueLicences(self, request: Any, context: Any) -> Any:
        self._came(request)
        names = self._issue(list(request.requests), request.approval, request.request_id)
        self._lose()
        return issuance_pb2.BatchIssueLicencesResponse(
            licences=[
                self._message(name, with_file=not request.return_immediately) for name in names
            ]
        )

    def _issue(self, requests: list[bytes], approval: str, request_id: str) -> list[str]:
        self._check_approval(approval, requests, "issue")
        body = json.dumps([{**json.loads(data), "nonce": ""} for data in requests]).encode()
        if request_id in self.requests:
            seen, names = self.requests[request_id]
            if seen != body:
                raise ConflictError("another body", reason="REQUEST_ID_REUSED")
            return names
        parsed = [IssueRequest.parse(data) for data in requests]
        with self._lock:
            return self._keep_all(parsed, request_id, body)

    def _keep_all(self, parsed: list[IssueRequest], request_id: str, body: bytes) -> list[str]:
        taken = {kept.request.number for kept in self.kept.values()}
        violations = [
            Violation(f"requests[{place}].number", "is taken", "LICENCE_NUMBER")
            for place, one in enumerate(parsed)
            if one.number in taken
        ]
        if violations:
            raise InvalidArgumentError("taken", reason="REQUEST", violations=violations)
        names = [self._keep(one) for one in parsed]
        self.requests[request_id] = body, names
        return names

    def _keep(self, request: IssueRequest) -> str:
        issued = self.builder.issue(request=request)
        identifier = issued.claims["ZZBS"]
        body = ".".join(identifier.split(".")[5:8])
        name = str(LicenceName(parse_region_code(REGION), body))
        self.kept[name] = Kept(request, issued)
        return name

    def _check_approval(self, token: str, requests: list[bytes], operation: str) -> None:
        approval = parse_approval(token).verify(
            self.approval_key.public_key, [request_digest(data) for data in requests]
        )
        if (approval.operation, approval.region) != (operation, REGION):
            raise PermissionDeniedError("another approval", reason="APPROVAL_OPERATION")

    def _lose(self) -> None:
        if self.lost_answers:
            self.lost_answers -= 1
            raise UnavailableError("the answer was lost", reason="LOST")

    # --- licences -------------------------------------------------------------------

    def GetLicence(self, request: Any, context: Any) -> licence_pb2.Licence:
        self._came(request)
        name = request.name.partition("@")[0]
        return self._message(name, with_file="*" in request.read_mask.paths)

    def ListLicences(self, request: Any, context: Any) -> Any:
        self._came(request)
        names = [
            name
            for name, kept in self.kept.items()
            if not request.HasField("holder")
            or request.holder.value in {h.number.reveal() for h in kept.request.holders}
        ]
        page, token = take_page(names[::-1], request.page_token)
        return licence_pb2.ListLicencesResponse(
            licences=[self._message(name) for name in page], next_page_token=token
        )

    def ListLicenceRevisions(self, request: Any, context: Any) -> Any:
        self._came(request)
        return licence_pb2.ListLicenceRevisionsResponse(licences=[self._message(request.name)])

    def ListLicenceEvents(self, request: Any, context: Any) -> Any:
        self._came(request)
        page, token = take_page(self._find(request.parent).events, request.page_token)
        return licence_pb2.ListLicenceEventsResponse(licence_events=page, next_page_token=token)

    def ChangeLicenceStatus(self, request: Any, context: Any) -> licence_pb2.Licence:
        self._came(request)
        change = ChangeRequest.parse(request.change_request)
        self._check_approval(request.approval, [request.change_request], change.operation)
        kept, operation = self._find(request.name), Operation(change.operation)
        if operation.number != request.operation:
            raise InvalidArgumentError("another operation", reason="OPERATION")
        if request.etag and request.etag != self._message(request.name).etag:
            raise ConflictError("changed since", reason="ETAG")
        if kept.state is _TARGETS[operation]:
            raise FailedPreconditionError("not from this state", reason="TRANSITION")
        kept.events.append(
            licence_pb2.LicenceEvent(
                operation=request.operation,
                from_state=kept.state.number,
                to_state=_TARGETS[operation].number,
                reason_code=change.reason_code,
                reason=change.reason,
                legal_basis=change.legal_basis,
                operator=request.context.operator,
                effective_time=timestamp(change.effective_at),
                create_time=timestamp(self.clock.now()),
            )
        )
        kept.state = _TARGETS[operation]
        return self._message(request.name)

    def _find(self, name: str) -> Kept:
        if name not in self.kept:
            raise NotFoundError("no such licence", reason="LICENCE")
        return self.kept[name]

    def _message(self, name: str, *, with_file: bool = False) -> licence_pb2.Licence:
        kept = self._find(name)
        region = parse_region_code(REGION)
        until = kept.issued.claims.get("exp")
        message = licence_pb2.Licence(
            name=name,
            identifier=kept.issued.claims["ZZBS"],
            revision_id="001",
            licence_type=str(TypeName(region, kept.request.type)),
            issuer=f"regions/{REGION}/authorities/{CODE}",
            state=kept.state.number,
            create_time=timestamp(self.clock.now()),
            status_uri=STATUS_URI,
            status_index=kept.issued.status_index,
            log_index=kept.issued.index,
            etag=f"{kept.state}-{len(kept.events)}",
            licence_file=self.builder.file(kept.issued) if with_file else b"",
        )
        if until is not None:
            message.valid_until.FromSeconds(until)
        return message

    # --- verification -----------------------------------------------------------------

    def VerifyLicence(self, request: Any, context: Any) -> Any:
        self._came(request)
        return self._judge(request.presentation, request, self.builder.trust())

    def BatchVerifyLicences(self, request: Any, context: Any) -> Any:
        self._came(request)
        trust = self.builder.trust()
        return verification_pb2.BatchVerifyLicencesResponse(
            reports=[self._judge(one, request, trust) for one in request.presentations]
        )

    def _judge(self, presentation: bytes, request: Any, trust: TrustSet) -> verification_pb2.Report:
        evidence = Evidence(licence=presentation, trust=trust)
        at = moment(request.at_time) if request.HasField("at_time") else None
        policy = _POLICIES.get(request.policy)
        if policy is None:
            raise InvalidArgumentError("no such policy", reason="POLICY")
        return report_message(decision.verify(evidence, policy, self.clock.now(), at))


def request_content(number: str = "虚构证字第00001号", **changes: Any) -> dict[str, Any]:
    """Return what a department asks for: a licence of an invented person."""
    return {
        "type": TYPE,
        "number": number,
        "issued_on": "2026-01-01",
        "valid_from": "2026-01-01",
        "valid_until": "2090-12-31",
        "holders": [{"name": "虚构人甲", "number": "350302188503150016", "number_type": "111"}],
        "fields": {"KZ_F0": "虚构内容"},
        **changes,
    }


def pem(key: SigningKey, passphrase: str | None = None) -> bytes:
    """Return a private key in PEM."""
    if passphrase is None:
        return pem_format.encode(pem_format.PRIVATE_KEY, key.to_pkcs8())
    loaded: Any = s.load_der_private_key(key.to_pkcs8(), None)
    encryption = s.BestAvailableEncryption(passphrase.encode("utf-8"))
    data: bytes = loaded.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, encryption)
    return data
