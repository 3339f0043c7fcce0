"""What somebody at the region's own machine did, on the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from yinxin_proto.error import YinxinError
from yinxin_trust.access import Principal
from yinxin_trust.audit import OK
from yinxin_trust.context import CallContext
from yinxin_trust.region import Region

CONSOLE: Final = "@console"
"""Who did it, in the records: somebody at the machine, with the passphrase."""

_SOMEBODY: Final = Principal(CONSOLE, "", None, frozenset(), enabled=True)


def record(
    region: Region, method: str, resource: str, *, purpose: str = "", error: YinxinError | None
) -> None:
    """Put one act on the trail; what was refused too.

    Args:
        region: Opened, its online keys at least.
        method: ``Group/Act``; no contract's method.
        resource: What it was about.
        purpose: Why, where somebody said.
        error: What refused it; None when it was done.
    """
    with region.storage.write() as conn:
        region.audit.record(
            conn,
            caller=_SOMEBODY,
            method=f"Console/{method}",
            resource=f"{region.namespace.resource}/{resource}",
            context=CallContext(purpose),
            outcome=OK if error is None else error.code,
            reason="" if error is None else error.reason,
        )


@contextmanager
def audited(region: Region, method: str, resource: str, *, purpose: str = "") -> Iterator[None]:
    """Put what the block does on the trail, done or refused."""
    try:
        yield
    except YinxinError as error:
        record(region, method, resource, purpose=purpose, error=error)
        raise
    record(region, method, resource, purpose=purpose, error=None)
