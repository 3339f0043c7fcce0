"""Rotations that begin by themselves: keys past the age that the settings allow them.

The server takes the steps that need no offline key; what is left then waits for
whoever brings those, and ``yinxin key list`` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from yinxin_ca.keystore import Purpose
from yinxin_proto.clock import Clock
from yinxin_proto.error import YinxinError
from yinxin_trust.keyoverview import KeyLine, overview
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.rotation.engine import Rotation
from yinxin_trust.settings import RotationTable
from yinxin_trust.storage import Storage

_COMING = {Stage.PREPARED, Stage.PUBLISHED}
_GOING = {Stage.RETIRING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Begins the rotations that are due, where ``[rotation] automatic`` says so."""

    storage: Storage
    rotation: Rotation
    settings: RotationTable
    clock: Clock

    def begin_due(self) -> int:
        """Prepare, and publish where that takes no offline key; return how many were begun.

        Raises:
            YinxinError: One could not be begun; the others were.
        """
        if not self.settings.automatic:
            return 0
        begun = 0
        failed: YinxinError | None = None
        for line in self._due():
            try:
                self._begin(line)
            except YinxinError as error:
                # One key that cannot be replaced holds up no other.
                failed = failed or error
            else:
                begun += 1
        if failed is not None:
            raise failed
        return begun

    def _due(self) -> Iterator[KeyLine]:
        lines = list(overview(self.storage, self.rotation, self.settings))
        busy = {
            (line.key.ref.owner, line.key.ref.purpose)
            for line in lines
            if line.key.stage in _COMING | _GOING
        }
        now = self.clock.now()
        for line in lines:
            ref = line.key.ref
            # An approval key is its authority's to make.
            if ref.purpose is Purpose.APPROVAL or (ref.owner, ref.purpose) in busy:
                continue
            if line.is_due(now) and self._is_ours(ref.purpose, Step.PREPARE):
                yield line

    def _begin(self, line: KeyLine) -> None:
        ref = line.key.ref
        prepared = self.rotation.prepare(ref.owner, ref.purpose)
        if self._is_ours(ref.purpose, Step.PUBLISH):
            self.rotation.publish(prepared.ref)

    def _is_ours(self, purpose: Purpose, step: Step) -> bool:
        return self.rotation.covers(purpose) and step not in self.rotation.plan(purpose).offline
