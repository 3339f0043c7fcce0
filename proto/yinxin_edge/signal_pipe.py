"""Signals as something to wait for, beside pipes and processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import FrameType


@contextmanager
def signal_pipe(*numbers: signal.Signals) -> Iterator[Connection]:
    """Send one byte down a pipe for each signal, in place of its usual effect.

    A handler may run while its own thread holds any lock, so it must take none:
    setting a ``threading.Event`` there can deadlock, writing to a pipe cannot.

    Args:
        numbers: The signals; must be called in the main thread.

    Yields:
        The end to wait for and to read.
    """
    seen, told = Pipe(duplex=False)

    def tell(number: int, _frame: FrameType | None) -> None:
        # A few bytes never fill the pipe, so this never blocks.
        told.send_bytes(bytes([number]))

    before = {number: signal.signal(number, tell) for number in numbers}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        seen.close()
        told.close()
