"""One connection to one region, as the groups of calls share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from yinxin.approvalarchive import ApprovalArchive
from yinxin.credentials import Credentials
from yinxin.transport import Transport
from yinxin_proto.approval import ISSUE, approve
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import ConfigurationError
from yinxin_proto.name import RegionCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What every call needs."""

    transport: Transport
    region: RegionCode
    """The region that is called."""
    credentials: Credentials | None
    clock: Clock
    entropy: Entropy
    archive: ApprovalArchive | None = None
    """Where copies of approvals are kept."""

    @property
    def parent(self) -> str:
        """Resource name of the region."""
        return f"regions/{self.region}"

    def request_id(self, given: str | None) -> str:
        """Return the caller's own request id, or a new one (AIP-155)."""
        return given or str(UUID(bytes=self.entropy.token(16), version=4))

    @property
    def authority(self) -> str:
        """Credit code of the authority that the caller acts for.

        Raises:
            ConfigurationError: It acts for none (``NO_AUTHORITY``).
        """
        if self.credentials is None or self.credentials.authority is None:
            raise ConfigurationError(
                "these credentials act for no issuing authority; use an authority's",
                reason="NO_AUTHORITY",
            )
        return self.credentials.authority

    def approve(self, requests: Sequence[bytes], operation: str = ISSUE) -> str:
        """Sign the authority's approval of requests, here on the caller's side, and keep a copy.

        Raises:
            ConfigurationError: No approval key (``NO_APPROVAL_KEY``), or the copy
                cannot be kept (``APPROVAL_COPY``).
            WrongPassphraseError: It cannot be opened.
        """
        authority = self.authority
        if self.credentials is None or self.credentials.approval_key is None:
            raise ConfigurationError(
                "there is no approval key in the credentials directory; the authority keeps it",
                reason="NO_APPROVAL_KEY",
            )
        approval = approve(
            requests,
            signer=self.credentials.approval_key.signer(),
            authority=authority,
            region=self.region,
            clock=self.clock,
            entropy=self.entropy,
            operation=operation,
        )
        if self.archive is not None:
            self.archive.keep(approval, requests)
        return approval


class CallGroup:
    """Calls of one contract; `yinxin.client.Client` joins the groups.

    Args:
        session: The connection.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
