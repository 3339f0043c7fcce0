"""Issuing: requests are built and approved here, on the authority's side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from enum import Enum
from typing import Final, TypeAlias

from yinxin.context import Context
from yinxin.licence import IssuedLicence
from yinxin.session import CallGroup, Session
from yinxin.transport import BATCH_DEADLINE
from yinxin_proto.error import InvalidArgumentError, Violation
from yinxin_proto.issuerequest import NONCE_BYTES, SCHEMA, IssueRequest
from yinxin_proto.licence import LONG_TERM
from yinxin_proto.name import TypeName
from yinxin_proto.strict import Json, b64url_encode
from yinxin_proto.v1.catalogue_pb2 import GetLicenceTypeRequest
from yinxin_proto.v1.catalogue_pb2_grpc import CatalogueServiceStub
from yinxin_proto.v1.issuance_pb2 import BatchIssueLicencesRequest, IssueLicenceRequest
from yinxin_proto.v1.issuance_pb2_grpc import IssuanceServiceStub

MAX_BATCH: Final = 1000

RequestContent: TypeAlias = Mapping[str, object] | IssueRequest
"""What is to be issued: ``type``, ``number``, ``issued_on``, ``valid_from``,
``valid_until`` (None for 长期), ``holders`` (``name``, ``number``,
``number_type``), ``fields`` (``KZ_*``), perhaps ``holder_key``. Dates are
``date`` or ``YYYY-MM-DD``. Region, issuer, schema version and nonce are filled
in where they are left out."""


class IssuanceCalls(CallGroup):
    """Calls that issue licences."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._versions: dict[str, int] = {}

    def issue(
        self,
        request: RequestContent,
        *,
        context: Context,
        request_id: str | None = None,
        wait: bool = True,
        deadline: timedelta | None = None,
    ) -> IssuedLicence:
        """Approve and issue one licence 新发.

        To retry after a lost answer, call again with the same ``request_id`` and
        content: the licence that was issued then is returned.

        Args:
            request: See `RequestContent`; an `IssueRequest` goes as it is.
            context: Why, and for which case.
            request_id: The caller's own, at most 64 characters; without one, a
                second call is a second request.
            wait: Return with the licence file, once its receipt is there;
                otherwise with the identifier alone, at once.
            deadline: Of this call.

        Raises:
            InvalidArgumentError: Unacceptable fields; ``violations`` has all.
            ConfigurationError: The credentials hold no approval key.
            AlreadyExistsError: The licence number is taken.
            ConflictError: The ``request_id`` was used with other content.
            PermissionDeniedError: The region does not accept the approval, or
                the caller is no issuer.
        """
        (data,) = self._build([request], single=True)
        message = IssueLicenceRequest(
            context=context.to_message(),
            parent=self._session.parent,
            request_id=self._session.request_id(request_id),
            request=data,
            approval=self._session.approve([data]),
            return_immediately=not wait,
        )
        stub = self._session.transport.stub(IssuanceServiceStub)
        try:
            answer = self._session.transport.call(stub.IssueLicence, message, deadline=deadline)
        except InvalidArgumentError:
            # Perhaps a type has a newer schema version by now.
            self._versions.clear()
            raise
        return IssuedLicence.from_message(answer)

    def issue_many(
        self,
        requests: Sequence[RequestContent],
        *,
        context: Context,
        request_id: str | None = None,
        wait: bool = True,
        deadline: timedelta = BATCH_DEADLINE,
    ) -> list[IssuedLicence]:
        """Issue 1 to 1,000 licences under one approval: all of them or none.

        Args:
            requests: Of one authority; see `issue`.
            context: Of the whole batch.
            request_id: Of the whole batch; a retry repeats all requests in order.
            wait: See `issue`.
            deadline: Of this call.

        Returns:
            The licences, in the order of the requests.

        Raises:
            YinxinError: As `issue`; a batch of another size is refused
                (``BATCH_SIZE``).
        """
        if not 1 <= len(requests) <= MAX_BATCH:
            raise InvalidArgumentError(
                f"a batch has 1 to {MAX_BATCH} requests", reason="BATCH_SIZE"
            )
        built = self._build(requests)
        message = BatchIssueLicencesRequest(
            context=context.to_message(),
            parent=self._session.parent,
            request_id=self._session.request_id(request_id),
            requests=built,
            approval=self._session.approve(built),
            return_immediately=not wait,
        )
        stub = self._session.transport.stub(IssuanceServiceStub)
        try:
            answer = self._session.transport.call(
                stub.BatchIssueLicences, message, deadline=deadline
            )
        except InvalidArgumentError:
            self._versions.clear()
            raise
        return [IssuedLicence.from_message(licence) for licence in answer.licences]

    def _build(self, contents: Sequence[RequestContent], *, single: bool = False) -> list[bytes]:
        """Return each request's exact bytes, or raise for every fault of them all."""
        violations: list[Violation] = []
        built = []
        for place, content in enumerate(contents):
            try:
                built.append(self._request(content).to_bytes())
            except InvalidArgumentError as error:
                prefix = "" if single else f"requests[{place}]."
                found = error.violations or (Violation("", error.message, error.reason),)
                violations += [
                    Violation((prefix + item.field).rstrip("."), item.description, item.reason)
                    for item in found
                ]
        if violations:
            raise InvalidArgumentError(
                "the issue request is not acceptable; nothing was sent",
                reason="REQUEST",
                violations=violations,
            )
        return built

    def _request(self, content: RequestContent) -> IssueRequest:
        if isinstance(content, IssueRequest):
            return content
        filled = {name: _plain(value) for name, value in content.items()}
        filled.setdefault("schema", SCHEMA)
        filled.setdefault("region", self._session.region)
        filled.setdefault("fields", {})
        filled.setdefault("holder_key", None)
        filled.setdefault("nonce", b64url_encode(self._session.entropy.token(NONCE_BYTES)))
        if "issuer" not in filled:
            filled["issuer"] = self._session.authority
        if filled.get("valid_until") == LONG_TERM:
            filled["valid_until"] = None
        if "type_version" not in filled and isinstance(filled.get("type"), str):
            filled["type_version"] = self._newest_version(filled["type"])
        return IssueRequest.from_document(filled)

    def _newest_version(self, code: str) -> int:
        if code not in self._versions:
            try:
                name = str(TypeName(self._session.region, code))
            except InvalidArgumentError as error:
                raise InvalidArgumentError(
                    error.message,
                    reason="REQUEST",
                    violations=[
                        Violation(
                            "type", "a licence type has 21 digits and capitals", "IDENTIFIER_TYPE"
                        )
                    ],
                ) from error
            stub = self._session.transport.stub(CatalogueServiceStub)
            found = self._session.transport.call(
                stub.GetLicenceType, GetLicenceTypeRequest(name=name)
            )
            self._versions[code] = found.schema_version
        return self._versions[code]


def _plain(value: object) -> Json:
    """Return a value as JSON has it; what JSON has not is left for the form to refuse."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
