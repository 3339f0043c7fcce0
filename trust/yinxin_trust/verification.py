"""Verdicts online: the decision engine over what the region itself knows.

The engine and the trust are the same that any department uses offline: what
the region has published, verified from its first root on. What a pack cannot
have is added: status lists signed for this moment, proofs from the log itself,
and its answer about a licence that came without a receipt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from yinxin_proto.clock import Clock
from yinxin_proto.error import InvalidArgumentError
from yinxin_trust.belief import Beliefs, BeliefStore
from yinxin_trust.holding import Holding
from yinxin_trust.loginquiry import LogInquiry
from yinxin_trust.logproof import ConsistencyProofs
from yinxin_trust.status import StatusSigner, tokens_at
from yinxin_trust.statuscache import FreshStatus
from yinxin_trust.storage import Storage
from yinxin_verifier.decision import verify
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.examination import Request
from yinxin_verifier.policy import OFFLINE, ONLINE, Policy
from yinxin_verifier.reason import STATUS_OLDER
from yinxin_verifier.report import Report

POLICIES: Final[Mapping[str, Policy]] = {policy.name: policy for policy in (ONLINE, OFFLINE)}
"""By name; a department's own policies are its own verifier's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of every licence of a call."""

    policy: Policy = ONLINE
    at: datetime | None = None
    """The moment that validity and status are judged at; now when None."""
    request: Request | None = None
    """What the presentation is for."""


class OnlineVerifier:
    """Judges licences with the region's own knowledge; one per process, any thread.

    Args:
        storage: The region's database.
        holding: Finds a licence that came without a receipt.
        statuses: Signs status lists for the moment.
        clock: The moment of verification.
    """

    def __init__(
        self, *, storage: Storage, holding: Holding, statuses: StatusSigner, clock: Clock
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._beliefs = BeliefStore()
        self._statuses = FreshStatus(signer=statuses, clock=clock)
        self._inquiry = LogInquiry(holding=holding)
        self._proofs = ConsistencyProofs(storage=storage)

    def verify(self, presentation: bytes, question: Question) -> Report:
        """Judge one licence; see `verify_many`."""
        return self.verify_many((presentation,), question)[0]

    def verify_many(self, presentations: Sequence[bytes], question: Question) -> list[Report]:
        """Judge licences, each by itself, on one state of the region.

        Args:
            presentations: Licence files or SD-JWTs. One that cannot be read
                gets a report that says so.
            question: What is asked.

        Raises:
            InvalidArgumentError: The moment asked about is in the future.
            UnavailableError: What the region publishes has run out, or the
                database cannot be read now.
        """
        now = self._clock.now()
        with self._storage.read() as conn:
            evidence = self._gather(conn, presentations, question, now)
        reports = [self._judge(one, question, now) for one in evidence]
        late = [place for place, report in enumerate(reports) if report.code == STATUS_OLDER.code]
        if late and question.at is None:
            # Logged after the lists at hand were signed: sign them anew, once.
            with self._storage.read() as conn:
                self._statuses.renew(conn)
                again = self._gather(conn, [presentations[place] for place in late], question, now)
            for place, one in zip(late, again, strict=True):
                reports[place] = self._judge(one, question, now)
        return reports

    def _gather(
        self, conn: Connection, presentations: Sequence[bytes], question: Question, now: datetime
    ) -> list[Evidence]:
        beliefs = self._beliefs.current(conn, now)
        at = question.at
        fetched = self._statuses.current(conn) if at is None else tokens_at(conn, at)
        return [
            self._evidence(conn, presentation, beliefs, fetched) for presentation in presentations
        ]

    def _evidence(
        self,
        conn: Connection,
        presentation: bytes,
        beliefs: Beliefs,
        fetched: Mapping[str, str | None],
    ) -> Evidence:
        if b'"receipt"' in presentation:
            return Evidence(
                licence=presentation,
                trust=beliefs.trust,
                fetched=fetched,
                consistency=self._proofs,
            )
        answer = self._inquiry.ask(conn, presentation)
        return Evidence(
            licence=presentation,
            trust=beliefs.trust,
            fetched=fetched,
            log_answer=answer.answer,
            opening=answer.opening,
            receipt=answer.receipt,
            consistency=self._proofs,
        )

    @staticmethod
    def _judge(evidence: Evidence, question: Question, now: datetime) -> Report:
        return verify(evidence, question.policy, now, question.at, question.request)


def policy_named(name: str) -> Policy:
    """Return a policy; ``ONLINE`` for the empty name.

    Raises:
        InvalidArgumentError: No such policy here (``POLICY``).
    """
    found = POLICIES.get(name or ONLINE.name)
    if found is None:
        raise InvalidArgumentError(f"{' or '.join(POLICIES)} is expected", reason="POLICY")
    return found
