"""CPU time of other processes, in seconds, as the scheduler counts it (Linux)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            with suppress(FileNotFoundError):  # a thread that has ended since
                found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process: user and system, threads that have ended too."""
    # The clock id of another process's CPU clock, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~pid << 3) | 2)


@contextmanager
def cpu_of(pid: int) -> Iterator[Callable[[], float]]:
    """Yield what tells, after the block, the CPU time that a process family took in it.

    Whoever is born during the block counts from birth; nobody may die in it.
    """
    before = {member: cpu_seconds(member) for member in family(pid)}
    taken = [0.0]
    yield lambda: taken[0]
    taken[0] = sum(cpu_seconds(member) - before.get(member, 0.0) for member in family(pid))
