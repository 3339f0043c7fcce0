"""The region's signed status lists, and which of them speaks for a moment.

A signed history is kept, so that a verdict can be given as of a time. A list
that does not verify is as good as one that never came: the licences that refer
to it cannot be confirmed, and none of them is thereby revoked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from yinxin_proto import statuslist
from yinxin_proto.certificate import parse as parse_certificate
from yinxin_proto.error import ConfigurationError, MalformedError, VerificationError, YinxinError
from yinxin_proto.jose import UnverifiedJws, x5c_chain
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord, KeyState
from yinxin_proto.statuslist import StatusToken
from yinxin_proto.trustlist import TrustList
from yinxin_verifier import reason
from yinxin_verifier.certification import Certifier
from yinxin_verifier.reason import Finding

CLOCK_TOLERANCE: Final = 60
"""Seconds by which the signer's clock may be ahead of ours."""
MAX_CACHED: Final = 64
_ISSUED_AT: Final = attrgetter("issued_at")
_STANDING: Final = {KeyState.ACTIVE, KeyState.RETIRED}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSnapshot:
    """One verified status list; times are seconds since 1970 UTC."""

    issued_at: int
    expires_at: float
    """First moment at which it must not be used online; infinite where it has none."""
    log_size: int | None
    """Size of the log that it reflects; None where it does not say."""
    list: statuslist.StatusList


class StatusVerifier:
    """Verifies status tokens against one region's trust list.

    Args:
        trust_list: Names the status keys.
        certifier: Judges the status signers' certificates.
    """

    def __init__(self, *, trust_list: TrustList, certifier: Certifier) -> None:
        self._list = trust_list
        self._certifier = certifier

    def verify(self, token: str) -> StatusToken:
        """Check who signed a status token, and that they might.

        Raises:
            MalformedError: Not a status token.
            VerificationError: A key that is not in the trust list or no longer
                stands (``STATUS_KEY``), certificates that do not lead to the
                region's status CA (``STATUS_CHAIN``), or a broken signature.
        """
        unverified = statuslist.parse(token)
        record = self._record(unverified.jws)
        try:
            verified = unverified.verify(record.public_key)
        except ConfigurationError as error:
            raise VerificationError(
                "status token: signed with a suite that this build lacks", reason="STATUS_KEY"
            ) from error
        self._check_certificates(unverified.jws, int(verified.issued_at.timestamp()), record)
        return verified

    def _record(self, jws: UnverifiedJws) -> KeyRecord:
        leaf = parse_certificate(x5c_chain(jws.header)[0])
        found = self._list.find_key(leaf.thumbprint)
        if found is None or found[1].purpose is not KeyPurpose.STATUS:
            raise VerificationError(
                "status token: its key is not a status key of the trust list", reason="STATUS_KEY"
            )
        if found[1].state not in _STANDING:
            raise VerificationError(
                "status token: its key is suspended or compromised", reason="STATUS_KEY"
            )
        return found[1]

    def _check_certificates(self, jws: UnverifiedJws, issued_at: int, record: KeyRecord) -> None:
        chain = [parse_certificate(der) for der in x5c_chain(jws.header)]
        certified = self._certifier.certify(chain, None)
        if isinstance(certified, Finding) or not record.covers(issued_at):
            raise VerificationError(
                "status token: its certificates do not lead to the status CA, or its key"
                " was not in use",
                reason="STATUS_CHAIN",
            )
        revoked = certified.revoked_at is not None and issued_at >= certified.revoked_at
        if revoked or not certified.not_before <= issued_at <= certified.not_after:
            raise VerificationError(
                "status token: its certificate was not valid when it was signed",
                reason="STATUS_CHAIN",
            )


class StatusBook:
    """The status lists at hand, by uri.

    Args:
        verifier: Judges tokens.
        tokens: Compact status tokens; several of one uri are its history.
    """

    def __init__(self, *, verifier: StatusVerifier, tokens: Iterable[str] = ()) -> None:
        self._verifier = verifier
        self._cache: dict[str, tuple[str, StatusSnapshot]] = {}
        self.refused: list[str] = []
        """Reasons of the tokens that did not verify."""
        history: dict[str, list[StatusSnapshot]] = {}
        for token in tokens:
            try:
                uri, snapshot = self._read(token)
            except (MalformedError, VerificationError) as error:
                self.refused.append(error.reason)
                continue
            history.setdefault(uri, []).append(snapshot)
        self._history = {
            uri: tuple(sorted(found, key=_ISSUED_AT)) for uri, found in history.items()
        }

    def _read(self, token: str) -> tuple[str, StatusSnapshot]:
        verified = self._verifier.verify(token)
        expires = verified.expires_at
        return verified.uri, StatusSnapshot(
            issued_at=int(verified.issued_at.timestamp()),
            expires_at=math.inf if expires is None else expires.timestamp(),
            log_size=verified.log_size,
            list=verified.list,
        )

    def lookup(
        self, uri: str, fetched: Mapping[str, str | None], at: int, now: int
    ) -> StatusSnapshot | Finding:
        """Return the list of ``uri`` that was in force at ``at``, or why there is none.

        Args:
            uri: As the licence refers to it.
            fetched: Tokens asked for while verifying; None where that failed.
            at: The moment asked about.
            now: The moment of verification.
        """
        history: Sequence[StatusSnapshot] = self._history.get(uri, ())
        limit = at if at < now else now + CLOCK_TOLERANCE
        if history and not fetched and history[-1].issued_at <= limit:
            return history[-1]
        if uri in fetched:
            found = self._fetched(uri, fetched[uri])
            if isinstance(found, Finding):
                return found
            history = sorted((*history, found), key=_ISSUED_AT)
        if not history:
            if self.refused:
                return reason.STATUS_UNAVAILABLE.because("STATUS_REFUSED")
            return reason.STATUS_UNAVAILABLE
        for snapshot in reversed(history):
            if snapshot.issued_at <= limit:
                return snapshot
        return reason.STATUS_NOT_THEN

    def _fetched(self, uri: str, token: str | None) -> StatusSnapshot | Finding:
        if token is None:
            return reason.STATUS_UNAVAILABLE
        try:
            stated, snapshot = self._cached(token)
        except YinxinError as error:
            return reason.STATUS_UNAVAILABLE.because(error.reason)
        # Another list, well signed, would answer for another licence.
        return snapshot if stated == uri else reason.STATUS_UNAVAILABLE.because("STATUS_URI")

    def _cached(self, token: str) -> tuple[str, StatusSnapshot]:
        found = self._cache.get(token)
        if found is None:
            found = self._read(token)
            if len(self._cache) >= MAX_CACHED:
                self._cache.pop(next(iter(self._cache)), None)
            self._cache[token] = found
        return found
