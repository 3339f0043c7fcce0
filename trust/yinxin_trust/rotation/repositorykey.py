"""The trust repository's own keys; see `repositorykeys` for why a role has two for a while."""

from __future__ import annotations

from sqlalchemy import Connection

from yinxin_ca.keystore import Purpose
from yinxin_proto.repository_writer import RepositoryWriter
from yinxin_trust.keyinventory import KeyVersion
from yinxin_trust.keyring import OFFLINE
from yinxin_trust.keystage import Step
from yinxin_trust.publication import reader
from yinxin_trust.repositorykeys import DELEGATED_PURPOSES, role_of_purpose
from yinxin_trust.rotation.plan import NOTHING, Bench, Change, PlainPlan


def offline_steps(purpose: Purpose) -> frozenset[Step]:
    """Return which steps of a role's key need the offline keys."""
    steps = {Step.PUBLISH, Step.RETIRE}
    if purpose in OFFLINE:
        steps |= {Step.PREPARE, Step.ACTIVATE, Step.DESTROY}
    return frozenset(steps)


class RepositoryKeyPlan(PlainPlan):
    """One role's key.

    Args:
        bench: What it works with.
        purpose: Of which role.
    """

    def __init__(self, bench: Bench, purpose: Purpose) -> None:
        super().__init__(bench)
        self._purpose = purpose
        self.offline = offline_steps(purpose)

    def publish(self, conn: Connection, key: KeyVersion) -> Change:
        """See `Plan.publish`: the role has both keys from now on."""
        return Change(roles=(self._purpose,))

    def is_public(self, conn: Connection, key: KeyVersion) -> bool:
        """See `Plan.is_public`: what names the role's keys names this one."""
        writer = RepositoryWriter(read=reader(conn), clock=self.bench.clock)
        public = self.store(key.ref).signer(key.ref).public_key
        return writer.names(self._role, public)

    def activate(self, conn: Connection, key: KeyVersion, old: KeyVersion | None) -> Change:
        """See `Plan.activate`: what the role says is said anew, by it."""
        if self._purpose in DELEGATED_PURPOSES:
            return Change(targets={self._role: {}})
        if self._purpose is Purpose.TUF_ROOT:
            # The next root has both signatures.
            return NOTHING
        if self._purpose is Purpose.TUF_TARGETS:
            return Change(roles=(self._purpose,))
        return Change(anew=True)

    def retire(self, conn: Connection, old: KeyVersion) -> Change:
        """See `Plan.retire`: the role has the successor alone."""
        return Change(roles=(self._purpose,))

    @property
    def _role(self) -> str:
        if self._purpose in DELEGATED_PURPOSES:
            return role_of_purpose(self._purpose)
        return self._purpose.value.removeprefix("tuf-")
