"""A region that really runs: in-process gRPC behind mutual TLS, a sequencer beside it.

::

    with RunningRegion.start() as running:
        with running.channel("housing-bureau") as channel: ...

Everything is real: keys, certificates, tables, log. The people and bodies are
invented.
"""

from __future__ import annotations

import io
import itertools
import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from sqlalchemy import func, select

from support import postgres
from support.clock import FixedClock
from support.requests import AUTHORITY, OTHER_AUTHORITY, document
from support.small_region import OTHER_TYPE, TYPE, type_bytes
from yinxin_edge.channel import open_channel
from yinxin_edge.clock import SystemClock
from yinxin_edge.interceptor import CallLimits
from yinxin_edge.journal import Journal
from yinxin_edge.principal import PeerVerifier
from yinxin_edge.server import Server, ServerSettings
from yinxin_edge.status import from_rpc_error
from yinxin_edge.tls import TlsIdentity, channel_credentials, server_credentials
from yinxin_proto.approval import ChangeRequest, IssueRequest, approve
from yinxin_proto.certificate import parse
from yinxin_proto.error import YinxinError
from yinxin_proto.es256 import ES256
from yinxin_proto.identifier import parse as parse_identifier
from yinxin_proto.name import parse_region_code
from yinxin_proto.signature import SigningKey
from yinxin_proto.strict import Json, b64url_encode
from yinxin_proto.v1.common_pb2 import CallContext
from yinxin_proto.v1.issuance_pb2 import BatchIssueLicencesRequest, IssueLicenceRequest
from yinxin_proto.v1.issuance_pb2_grpc import IssuanceServiceStub
from yinxin_proto.v1.licence_pb2 import (
    ChangeLicenceStatusRequest,
    Licence,
    LicenceOperation,
)
from yinxin_proto.v1.licence_pb2_grpc import LicenceServiceStub
from yinxin_trust import schema
from yinxin_trust.access import Role
from yinxin_trust.catalogue import add_type, parse_type
from yinxin_trust.directory import touch
from yinxin_trust.peerrevocation import PeerRevocation
from yinxin_trust.region import EXAMPLE, Region
from yinxin_trust.registration import NewAuthority
from yinxin_trust.servercertificate import ServerCertificate
from yinxin_trust.service import CALL_LIMITS, services
from yinxin_trust.settings import RegionTable, ServerTable
from yinxin_trust.transition import Operation
from yinxin_trust.trustlisting import get_anchors

ISSUER = "housing-bureau"
OTHER_ISSUER = "water-bureau"
VERIFIER = "service-hall"
REGISTRAR = "data-bureau"
AUDITOR = "audit-office"
SYSTEM = "operations"
SECURITY = "security-office"
NOBODY = "no-roles"
PRINCIPALS: Mapping[str, tuple[Role, ...]] = {
    ISSUER: (Role.ISSUER,),
    OTHER_ISSUER: (Role.ISSUER,),
    VERIFIER: (Role.VERIFIER,),
    REGISTRAR: (Role.REGISTRAR,),
    AUDITOR: (Role.AUDITOR,),
    SYSTEM: (Role.SYSTEM_ADMINISTRATOR,),
    SECURITY: (Role.SECURITY_ADMINISTRATOR,),
    NOBODY: (),
}
_AUTHORITIES = {ISSUER: AUTHORITY, OTHER_ISSUER: OTHER_AUTHORITY}
CONTEXT = CallContext(
    purpose="虚构事项审批", case_number="BJ-0001", service_item="SX-01", operator="经办甲"
)
PARENT = "regions/350300"
SEQUENCING_PERIOD = timedelta(milliseconds=15)


@dataclass
class RunningRegion:
    """The region, its server, and the keys that its clients keep to themselves."""

    region: Region
    clock: FixedClock
    server: Server
    journal: io.StringIO
    approval_keys: Mapping[str, SigningKey]
    identities: Mapping[str, TlsIdentity]
    _stop: threading.Event
    _serial: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    sequencing_fault: BaseException | None = None

    @classmethod
    @contextmanager
    def start(
        cls,
        database_url: str = "sqlite://",
        *,
        table: RegionTable = EXAMPLE,
        limits: CallLimits = CALL_LIMITS,
        threads: int = 40,
    ) -> Iterator[Self]:
        """Found it, serve it, and take it down again."""
        # TLS reads the machine's clock: the region's begins there, and moves when told to.
        clock = FixedClock(SystemClock().now().replace(microsecond=0))
        with ExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="yinxin-")))
            region = undo.enter_context(
                Region.in_memory(
                    clock,
                    region=table,
                    server=ServerTable(sequencing_period=SEQUENCING_PERIOD),
                    database_url=database_url,
                )
            )
            keys = _found(region)
            # Takes the sequencer's lease, so that every table is as it stays.
            region.sequence()
            identities = {name: enrol(region, name, *roles) for name, roles in PRINCIPALS.items()}
            journal = io.StringIO()
            certificate = ServerCertificate(region=region, directory=folder)
            certificate.ensure()
            server = _server(region, certificate.identity(), journal, limits, threads)
            server.start()
            undo.callback(server.stop)
            running = cls(region, clock, server, journal, keys, identities, threading.Event())
            undo.enter_context(running._sequencing())
            yield running

    @contextmanager
    def _sequencing(self) -> Iterator[None]:
        thread = threading.Thread(target=self._sequence, name="test-sequencer", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            if self.sequencing_fault is not None:
                raise self.sequencing_fault

    def _sequence(self) -> None:
        try:
            while not self._stop.wait(SEQUENCING_PERIOD.total_seconds()):
                if not self.paused.is_set():
                    self.region.sequence()
        except BaseException as error:  # noqa: BLE001 - raised again where the region ends
            self.sequencing_fault = error

    paused: threading.Event = field(default_factory=threading.Event)
    """While it is set, nothing is sequenced."""

    # --- connections ----------------------------------------------------------------

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"localhost:{self.server.port}"

    @contextmanager
    def channel(
        self, principal: str | TlsIdentity = ISSUER, *, retries: bool = True
    ) -> Iterator[grpc.Channel]:
        """A connection of one of `PRINCIPALS`, or of any other identity."""
        identity = self.identities[principal] if isinstance(principal, str) else principal
        credentials = channel_credentials(identity)
        if retries:
            opened = open_channel(self.target, credentials, own_connection=True)
        else:
            options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
            opened = grpc.secure_channel(self.target, credentials, options=options)
        with opened:
            yield opened

    def enrol(self, name: str, *roles: Role, authority: str | None = None) -> TlsIdentity:
        """Enrol one more principal."""
        return enrol(self.region, name, *roles, authority=authority)

    # --- requests ---------------------------------------------------------------------

    def request(self, **changes: Json) -> bytes:
        """The exact bytes of an issue request about an invented person."""
        number = next(self._serial)
        today = self.clock.now().date().isoformat()
        members = document(
            type=TYPE,
            number=f"虚构证字第{number:06}号",
            issued_on=today,
            valid_from=today,
            valid_until="2099-12-31",
            nonce=b64url_encode(self.region.entropy.token(32)),
        )
        members.update(changes)
        return IssueRequest.from_document(members).to_bytes()

    def approve(
        self,
        requests: Sequence[bytes],
        authority: str = AUTHORITY,
        **how: Any,  # noqa: ANN401 - as `approve` takes them
    ) -> str:
        """The authority's approval of requests."""
        return approve(
            requests,
            **{
                "signer": self.approval_keys[authority],
                "authority": authority,
                "region": self.region.namespace.code,
                "clock": self.clock,
                "entropy": self.region.entropy,
                **how,
            },
        )

    def issue_message(
        self,
        request: bytes | None = None,
        *,
        request_id: str | None = None,
        **changes: Any,  # noqa: ANN401 - fields of the message
    ) -> IssueLicenceRequest:
        """An acceptable IssueLicence request."""
        body = self.request() if request is None else request
        members = {
            "context": CONTEXT,
            "parent": PARENT,
            "request_id": request_id or self.token(),
            "request": body,
            "approval": self.approve([body]),
        }
        return IssueLicenceRequest(**{**members, **changes})

    def batch_message(
        self,
        requests: Sequence[bytes],
        *,
        request_id: str | None = None,
        **changes: Any,  # noqa: ANN401 - fields of the message
    ) -> BatchIssueLicencesRequest:
        """An acceptable BatchIssueLicences request."""
        members = {
            "context": CONTEXT,
            "parent": PARENT,
            "request_id": request_id or self.token(),
            "requests": requests,
            "approval": self.approve(requests),
        }
        return BatchIssueLicencesRequest(**{**members, **changes})

    def change_message(
        self,
        licence: Licence,
        operation: Operation,
        **changes: Any,  # noqa: ANN401 - fields of the message
    ) -> ChangeLicenceStatusRequest:
        """An acceptable ChangeLicenceStatus request."""
        identifier = parse_identifier(licence.identifier)
        body = ChangeRequest(
            region=parse_region_code(self.region.namespace.code),
            identifier=identifier,
            operation=operation.value,
            reason_code="PENALTY",
            reason="虚构事由",
            legal_basis="虚构法第一条",
            effective_at=self.clock.now(),
            nonce=self.region.entropy.token(32),
        ).to_bytes()
        members = {
            "context": CONTEXT,
            "name": licence.name,
            "request_id": self.token(),
            "operation": LicenceOperation.Value(f"LICENCE_OPERATION_{operation.name}"),
            "change_request": body,
            "approval": self.approve([body], identifier.issuer, operation=operation.value),
        }
        return ChangeLicenceStatusRequest(**{**members, **changes})

    def token(self) -> str:
        """A request id that was not used."""
        return self.region.entropy.token(16).hex()

    # --- whole calls --------------------------------------------------------------------

    def issue(self, **changes: Json) -> Licence:
        """Issue one licence and return it with its file."""
        with self.channel() as channel:
            message = self.issue_message(self.request(**changes))
            return IssuanceServiceStub(channel).IssueLicence(message, timeout=30)

    def issue_many(self, count: int) -> Sequence[Licence]:
        """Issue some licences under one approval."""
        with self.channel() as channel:
            message = self.batch_message([self.request() for _ in range(count)])
            answer = IssuanceServiceStub(channel).BatchIssueLicences(message, timeout=60)
            return tuple(answer.licences)

    def change(self, licence: Licence, operation: Operation) -> Licence:
        """Change a licence's state."""
        with self.channel() as channel:
            message = self.change_message(licence, operation)
            return LicenceServiceStub(channel).ChangeLicenceStatus(message, timeout=30)

    # --- looking behind -------------------------------------------------------------------

    def table_sizes(self) -> dict[str, int]:
        """Rows of every table but the audit trail, which also keeps what was refused."""
        with self.region.storage.read() as conn:
            return {
                table.name: conn.execute(select(func.count()).select_from(table)).scalar_one()
                for table in schema.metadata.sorted_tables
                if table is not schema.audit
            }

    def audit_rows(self) -> list[dict[str, Any]]:
        """The audit trail; rows of one moment, and time stands still here, in no order."""
        with self.region.storage.read() as conn:
            return [dict(row._mapping) for row in conn.execute(select(schema.audit))]

    @contextmanager
    def recording(self) -> Iterator[list[dict[str, Any]]]:
        """What is put on record during the block, once it ends."""
        before = {row["audit_ref"] for row in self.audit_rows()}
        added: list[dict[str, Any]] = []
        yield added
        added += [row for row in self.audit_rows() if row["audit_ref"] not in before]

    def journal_lines(self) -> list[dict[str, Any]]:
        """What was journalled."""
        return [json.loads(line) for line in self.journal.getvalue().splitlines()]


def violations(error: YinxinError) -> dict[str, str]:
    """Reasons by field."""
    return {violation.field: violation.reason for violation in error.violations}


def nothing_is_made(
    running: RunningRegion, call: Callable[[], object], *kinds: type[YinxinError]
) -> YinxinError:
    """Expect a refusal that leaves every table as it was, and one line of audit."""
    before = running.table_sizes()
    with running.recording() as rows, refused(*kinds) as caught:
        call()
    assert running.table_sizes() == before
    error = caught[0]
    assert [(row["outcome"], row["reason"]) for row in rows] == [(error.code, error.reason)]
    return error


@contextmanager
def refused(*kinds: type[YinxinError]) -> Iterator[list[YinxinError]]:
    """Expect a call to fail with one of our errors; it is in the list afterwards."""
    caught: list[YinxinError] = []
    with pytest.raises(grpc.RpcError) as raised:
        yield caught
    caught.append(from_rpc_error(raised.value))
    assert isinstance(caught[0], kinds or YinxinError), caught[0]


def enrol(region: Region, name: str, *roles: Role, authority: str | None = None) -> TlsIdentity:
    """Enrol a principal with roles, and return what it shows."""
    key = ES256.generate()
    with region.storage.write() as conn:
        region.registrar.add_principal(
            conn,
            principal_id=name,
            display_name=f"虚构部门 {name}",
            authority_code=authority or _AUTHORITIES.get(name),
        )
        for role in roles:
            region.registrar.assign(conn, name, role, by="test")
    chain = region.registrar.certify_principal(name, key.public_key)
    return identity(region, key, chain)


def identity(region: Region, key: SigningKey, chain: Sequence[bytes]) -> TlsIdentity:
    """A client of the region's servers, with a key and certificates of its own."""
    with region.storage.read() as conn:
        anchor = get_anchors(conn).tls
    private = load_der_private_key(key.to_pkcs8(), password=None)
    return TlsIdentity(
        private_key=private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate_chain=b"".join(map(_pem, chain)),
        roots=_pem(anchor),
    )


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _found(region: Region) -> dict[str, SigningKey]:
    suite = region.foundation.suite
    keys = {code: suite.generate() for code in (AUTHORITY, OTHER_AUTHORITY)}
    with region.storage.write() as conn:
        touch(conn)
        for code in (TYPE, OTHER_TYPE):
            add_type(conn, parse_type(type_bytes(code)), now_ms=0)
    for code, key in keys.items():
        region.registrar.add_authority(
            NewAuthority(
                code=code,
                name=f"虚构机构{code[-2:]}",
                types=(TYPE,),
                approval_key=key.public_key,
            )
        )
    return keys


def _server(
    region: Region, shown: TlsIdentity, journal: io.StringIO, limits: CallLimits, threads: int
) -> Server:
    with region.storage.read() as conn:
        anchor = parse(get_anchors(conn).tls)
    return Server(
        settings=ServerSettings(
            listen="127.0.0.1:0",
            threads=threads,
            share_port=False,
            limits=limits,
            grace=timedelta(seconds=2),
        ),
        services=services(region),
        credentials=server_credentials(shown),
        identify=PeerVerifier(
            anchors={region.namespace.domain: (anchor,)},
            clock=region.clock,
            is_revoked=PeerRevocation(storage=region.storage, suite=ES256, clock=region.clock),
        ),
        journal=Journal(clock=region.clock, stream=journal),
        entropy=region.entropy,
    )


@contextmanager
def running_on(database: str) -> Iterator[RunningRegion]:
    """A running region on ``sqlite`` or, where a server answers, on ``postgresql``."""
    with ExitStack() as undo:
        url = "sqlite://"
        if database == "postgresql":
            url = undo.enter_context(postgres.temporary_schema())
        yield undo.enter_context(RunningRegion.start(url))
