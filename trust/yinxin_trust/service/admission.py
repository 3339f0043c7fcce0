"""What happens to every call before and after its servicer: roles, context, audit.

The caller's roles are read from the region's records at each call, so what was
withdrawn is withdrawn for the next one. A call is put on record before it is
answered, refused ones too: what cannot be recorded is not answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from yinxin_edge.call import Call, current_call
from yinxin_edge.principal import Principal as Peer
from yinxin_proto.error import InternalError, PermissionDeniedError, YinxinError
from yinxin_proto.v1.common_pb2 import CallContext as ContextMessage
from yinxin_trust.access import Principal
from yinxin_trust.audit import OK, AuditTrail
from yinxin_trust.commit import GroupCommitter
from yinxin_trust.context import CallContext, holds_number
from yinxin_trust.directory import Directory, DirectorySnapshot
from yinxin_trust.namespace import Namespace
from yinxin_trust.rows import RowBatch
from yinxin_trust.service.form import Form
from yinxin_trust.service.permission import RULES, Rule
from yinxin_trust.storage import Storage

_PREFIX: Final = "/yinxin.v1."
UNNAMED: Final = "[number]"
"""Stands on record for a name with a subject's number in it."""


class Visit:
    """One call under way, from its admission to its record."""

    __slots__ = (
        "call",
        "caller",
        "context",
        "form",
        "item_count",
        "recorded",
        "snapshot",
        "target",
    )

    def __init__(self, call: Call, caller: Principal, form: Form) -> None:
        self.call = call
        self.form = form
        """Faults of the request so far, those of its context included."""
        self.caller = caller
        """Who calls, as the region's records have it."""
        self.target = ""
        """What the call is about, once its name was read: never raw input."""
        self.item_count = 1
        """How many things the call made, changed or showed."""
        self.recorded = False
        """Whether the domain has put the call on record itself."""

    context: CallContext
    """Why the call is made; empty where what was said is not acceptable."""
    snapshot: DirectorySnapshot
    """The region's records as the caller was looked up in them."""

    def resource(self, name: object) -> None:
        """Say what the call is about; ``name`` was parsed.

        A name may be well formed and yet nobody's, with a subject's number
        where a random reference or serial belongs: that is not put on record.
        """
        text = str(name)
        self.target = UNNAMED if holds_number(text, credit_codes=False) else text


class Admission:
    """Admits calls, and puts them on record.

    Args:
        storage: The region's database.
        directory: Who may do what.
        audit: The trail.
        committer: Shares transactions between the records of concurrent calls.
        namespace: The region's names.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        directory: Directory,
        audit: AuditTrail,
        committer: GroupCommitter,
        namespace: Namespace,
    ) -> None:
        self._storage = storage
        self._directory = directory
        self._audit = audit
        self._committer = committer
        self._namespace = namespace

    @contextmanager
    def admit(self, context: ContextMessage) -> Iterator[Visit]:
        """Admit the call that this thread serves, for as long as the block lasts.

        Raises:
            PermissionDeniedError: The caller is not a principal of this region
                (``PRINCIPAL_UNKNOWN``), or lacks the role.
        """
        call = current_call()
        rule = RULES.get(call.method)
        if rule is None:
            raise InternalError(f"no rule says who may call {call.method}", reason="NO_RULE")
        form = Form(self._namespace)
        visit = Visit(call, self._unknown(call.principal), form)
        visit.context = form.context(context, public=rule.public)
        try:
            self._authorise(visit, rule)
            yield visit
        except Exception as error:
            if not visit.recorded:
                told = error if isinstance(error, YinxinError) else InternalError("a fault")
                self._record(visit, told.code, told.reason)
            raise
        if not visit.recorded:
            self._record(visit, OK, "")

    def _authorise(self, visit: Visit, rule: Rule) -> None:
        with self._storage.read() as conn:
            visit.snapshot = self._directory.snapshot(conn)
        peer = visit.call.principal
        if peer.domain != self._namespace.domain:
            raise PermissionDeniedError(
                "the caller belongs to another region; call your own region's service",
                reason="PRINCIPAL_UNKNOWN",
            )
        visit.caller = visit.snapshot.principal(peer.identifier)
        visit.caller.require(*rule.roles)

    def _unknown(self, peer: Peer) -> Principal:
        """Return what stands on record for a caller that is not looked up yet."""
        own = peer.domain == self._namespace.domain
        name = peer.identifier if own else peer.uri
        return Principal(name, "", None, frozenset(), enabled=False)

    def _record(self, visit: Visit, outcome: str, reason: str) -> None:
        batch = RowBatch()
        self.queue_record(visit, batch, outcome=outcome, reason=reason)
        self._committer.commit(batch)

    def queue_record(
        self, visit: Visit, batch: RowBatch, *, outcome: str = OK, reason: str = ""
    ) -> None:
        """Queue the call's record beside what it made."""
        self._audit.add(
            batch,
            caller=visit.caller,
            method=visit.call.method.removeprefix(_PREFIX),
            resource=visit.target,
            context=visit.context,
            item_count=visit.item_count,
            outcome=outcome,
            reason=reason,
        )
