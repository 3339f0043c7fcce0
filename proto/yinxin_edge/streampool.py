"""Threads of streaming calls, and how many such calls there are.

A stream may wait for its peer, and holds a place in the server's bound on
calls all that time: without a bound of their own, the idle streams of one
client would keep everybody's single calls out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class StreamPool(ThreadPoolExecutor):
    """A thread pool that knows when enough streams are open.

    Args:
        threads: Streams in progress at once.
        places: Streams in progress or waiting for a thread.
    """

    def __init__(self, *, threads: int, places: int) -> None:
        super().__init__(threads, thread_name_prefix="stream")
        self._places = places
        self._taken = 0
        self._counting = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether one more stream is to be refused."""
        return self._taken >= self._places

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a stream when a thread is free."""
        future = super().submit(fn, *args, **kwargs)
        with self._counting:
            self._taken += 1
        future.add_done_callback(self._leave)
        return future

    def _leave(self, _: Future[T]) -> None:
        with self._counting:
            self._taken -= 1
