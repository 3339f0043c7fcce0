"""Who may be inside a device's library, and when it is begun anew.

A device that was pulled out and put back has ended every session, and its
library must be begun anew while no thread is in it. Any number of threads
`use` it; one of those that found it silent does the `restart`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from yinxin_proto.error import UnavailableError

RESTART_PAUSE: Final = timedelta(seconds=1)
"""After a restart that failed: others are turned away at once for so long."""


class DeviceGate:
    """See the module.

    Args:
        absence: Makes the error for a device that does not answer.
    """

    def __init__(self, absence: Callable[[], UnavailableError]) -> None:
        self._absence = absence
        self._lock = threading.Condition()
        self._inside = 0
        self._restarting = False
        self._failed_at: float | None = None
        self._restarted_at = time.monotonic()
        self.generation = 0
        """Grows whenever every session of the device has ended."""

    @contextmanager
    def use(self) -> Iterator[None]:
        """Keep the device from being restarted while the block runs."""
        with self._lock:
            while self._restarting:
                self._lock.wait()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._lock.notify_all()

    def restart(self, seen: int, begin: Callable[[], None]) -> None:
        """Begin anew, once nobody is inside; every session ends.

        Args:
            seen: The generation that did not answer; if it is over already,
                another thread has restarted the device and nothing is done.
            begin: Begins it; raises `UnavailableError` where that fails.

        Raises:
            UnavailableError: It does not begin, or did not a moment ago.
        """
        with self._lock:
            while self._restarting:
                self._lock.wait()
            if self.generation != seen:
                return
            if self._is_pausing():
                raise self._absence()
            self._restarting = True
            while self._inside:
                self._lock.wait()
        try:
            begin()
        except UnavailableError:
            self.note_absence()
            raise
        finally:
            with self._lock:
                self.generation += 1
                self._restarted_at = time.monotonic()
                self._restarting = False
                self._lock.notify_all()

    @property
    def is_fresh(self) -> bool:
        """Whether it was begun a moment ago, so that doing it again helps nobody."""
        return time.monotonic() - self._restarted_at < RESTART_PAUSE.total_seconds()

    def note_absence(self) -> None:
        """Turn others away for a moment: the device is still not there."""
        self._failed_at = time.monotonic()

    def note_presence(self) -> None:
        """The device answers again."""
        self._failed_at = None

    def after_fork(self) -> None:
        """In a forked child: sessions and locks are the parent's."""
        self._lock = threading.Condition()
        self._inside, self._restarting, self._failed_at = 0, False, None
        self.generation += 1

    def _is_pausing(self) -> bool:
        failed_at = self._failed_at
        pause = RESTART_PAUSE.total_seconds()
        return failed_at is not None and time.monotonic() - failed_at < pause
