"""Changes of a licence's status, each approved by the issuing authority here."""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired, TypedDict, Unpack

from yinxin.context import Context
from yinxin.holding import HoldingCalls, licence_name, plain_name
from yinxin.licence import IssuedLicence, Operation
from yinxin_proto.changerequest import SCHEMA, ChangeRequest
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.issuerequest import NONCE_BYTES
from yinxin_proto.numericdate import to_seconds
from yinxin_proto.strict import b64url_encode
from yinxin_proto.v1.licence_pb2 import ChangeLicenceStatusRequest
from yinxin_proto.v1.licence_pb2_grpc import LicenceServiceStub


class ChangeDetails(TypedDict):
    """What is said of a change."""

    context: Context
    """Why, and for which case."""
    reason: str
    """事由, 1 to 500 characters; never a subject's number."""
    legal_basis: str
    """法律依据, 1 to 500 characters."""
    reason_code: NotRequired[str]
    """Coded reason, a letter and up to 31 letters, digits, _ or -; ``OTHER``."""
    effective_at: NotRequired[datetime | None]
    """From when on, timezone-aware; now when left out."""
    request_id: NotRequired[str | None]
    """The caller's own. A retry must say the same, so ``effective_at`` is then
    needed too."""


class LifecycleCalls(HoldingCalls):
    """Calls that change a licence's status; what a state allows is the region's to say."""

    def change_status(
        self,
        licence: IssuedLicence | str,
        operation: Operation,
        **details: Unpack[ChangeDetails],
    ) -> IssuedLicence:
        """Approve and make a change of status.

        Args:
            licence: Given as an `IssuedLicence`, the change is refused if it
                was changed since.
            operation: What to do.
            **details: See `ChangeDetails`.

        Returns:
            The licence after the change, without its file.

        Raises:
            FailedPreconditionError: Its state does not allow it (``TRANSITION``).
            ConflictError: It was changed since, or the ``request_id`` was used
                with other content.
            InvalidArgumentError: Unacceptable fields.
            PermissionDeniedError: The approval is not accepted.
        """
        if details.get("request_id") is not None and details.get("effective_at") is None:
            raise InvalidArgumentError(
                "give effective_at together with request_id: a retry must say the same moment",
                reason="EFFECTIVE_AT",
            )
        name, identifier, etag = self._version(licence, details["context"])
        change = self._change_request(identifier, operation, details)
        request = ChangeLicenceStatusRequest(
            context=details["context"].to_message(),
            name=name,
            request_id=self._session.request_id(details.get("request_id")),
            operation=operation.number,
            change_request=change,
            approval=self._session.approve([change], operation.value),
            etag=etag,
        )
        transport = self._session.transport
        method = transport.stub(LicenceServiceStub).ChangeLicenceStatus
        return IssuedLicence.from_message(transport.call(method, request))

    def suspend(
        self, licence: IssuedLicence | str, **details: Unpack[ChangeDetails]
    ) -> IssuedLicence:
        """Suspend 暂扣; it can be reinstated. See `change_status`."""
        return self.change_status(licence, Operation.SUSPEND, **details)

    def reinstate(
        self, licence: IssuedLicence | str, **details: Unpack[ChangeDetails]
    ) -> IssuedLicence:
        """Put back in force 恢复 what was suspended, frozen or lost. See `change_status`."""
        return self.change_status(licence, Operation.REINSTATE, **details)

    def revoke(
        self, licence: IssuedLicence | str, **details: Unpack[ChangeDetails]
    ) -> IssuedLicence:
        """Revoke 吊销, as a penalty. See `change_status`."""
        return self.change_status(licence, Operation.REVOKE, **details)

    def cancel(
        self, licence: IssuedLicence | str, **details: Unpack[ChangeDetails]
    ) -> IssuedLicence:
        """Cancel 注销, e.g. at the holder's request. See `change_status`."""
        return self.change_status(licence, Operation.CANCEL, **details)

    def freeze(
        self, licence: IssuedLicence | str, **details: Unpack[ChangeDetails]
    ) -> IssuedLicence:
        """Freeze 冻结, for a dispute or a court. See `change_status`."""
        return self.change_status(licence, Operation.FREEZE, **details)

    def lose(self, licence: IssuedLicence | str, **details: Unpack[ChangeDetails]) -> IssuedLicence:
        """Report lost 挂失; it can be reinstated. See `change_status`."""
        return self.change_status(licence, Operation.LOSE, **details)

    def annul(
        self, licence: IssuedLicence | str, **details: Unpack[ChangeDetails]
    ) -> IssuedLicence:
        """Annul 撤销: it should not have been issued. See `change_status`."""
        return self.change_status(licence, Operation.ANNUL, **details)

    def withdraw(
        self, licence: IssuedLicence | str, **details: Unpack[ChangeDetails]
    ) -> IssuedLicence:
        """Withdraw 撤回, for the public interest. See `change_status`."""
        return self.change_status(licence, Operation.WITHDRAW, **details)

    def _change_request(
        self, identifier: str, operation: Operation, details: ChangeDetails
    ) -> bytes:
        request = ChangeRequest.from_document(
            {
                "schema": SCHEMA,
                "region": self._session.region,
                "identifier": identifier,
                "operation": operation.value,
                "reason_code": details.get("reason_code", "OTHER"),
                "reason": details["reason"],
                "legal_basis": details["legal_basis"],
                "effective_at": to_seconds(
                    details.get("effective_at") or self._session.clock.now()
                ),
                "nonce": b64url_encode(self._session.entropy.token(NONCE_BYTES)),
            }
        )
        return request.to_bytes()

    def _version(self, licence: IssuedLicence | str, context: Context) -> tuple[str, str, str]:
        """Return name, full identifier and etag, asking the region where need be."""
        if not isinstance(licence, IssuedLicence):
            name = licence_name(self._session.region, licence)
            if name.identifier is not None:
                return plain_name(self._session.region, licence), str(name.identifier), ""
            licence = self.get(licence, context=context, with_file=False)
        return plain_name(self._session.region, licence), licence.identifier, licence.etag
