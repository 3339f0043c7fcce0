"""SM2 through us, against the same EVP calls alone; and two threads against one.

Reference: `rawsm2`, by ctypes in a tight loop. Subject: the suite's `sign` and
`verify`, with the signature in JOSE form, range checks and errors.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
import rawsm2
from pairs import Pairs, Ratio, Timed, computed, one_core

from yinxin_proto.signaturepair import to_der
from yinxin_proto.sm2 import SM2

CALLS: Final = 100
PAIRS: Final = 31
MESSAGE: Final = bytes(range(256)) * 6
"""1.5 kB, about what a licence's signature covers."""

Compare = Callable[..., Ratio]
KEY: Final = SM2.generate()
RAW: Final = rawsm2.load(KEY.to_pkcs8())
SIGNATURE: Final = KEY.sign(MESSAGE)
DER: Final = to_der(SIGNATURE)


def ours(operation: str) -> Callable[[], None]:
    """The suite's operation, `CALLS` times."""
    public = KEY.public_key

    def sign() -> None:
        for _ in range(CALLS):
            KEY.sign(MESSAGE)

    def verify() -> None:
        for _ in range(CALLS):
            public.verify(SIGNATURE, MESSAGE)

    return sign if operation == "sign" else verify


def raw(operation: str) -> Callable[[], None]:
    """The library's, as often."""
    assert rawsm2.verify(RAW, DER, MESSAGE)

    def sign() -> None:
        for _ in range(CALLS):
            rawsm2.sign(RAW, MESSAGE)

    def verify() -> None:
        for _ in range(CALLS):
            rawsm2.verify(RAW, DER, MESSAGE)

    return sign if operation == "sign" else verify


@pytest.mark.parametrize("operation", ["sign", "verify"])
def test_sm2_against_libcrypto_alone(compare: Compare, operation: str) -> None:
    with one_core():
        pairs = Pairs(
            name=f"SM2 {operation} / the same EVP calls by ctypes",
            reference=computed(raw(operation), items=CALLS),
            subject=computed(ours(operation), items=CALLS),
            bar=0.8,
        )
        compare(pairs, PAIRS)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
@pytest.mark.parametrize("operation", ["sign", "verify"])
def test_two_threads_against_one(compare: Compare, operation: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        pairs = Pairs(
            name=f"SM2 {operation}, two threads / one",
            reference=_elapsed(pool, ours(operation), threads=1),
            subject=_elapsed(pool, ours(operation), threads=2),
            bar=1.6,
        )
        compare(pairs, PAIRS)


def _elapsed(pool: ThreadPoolExecutor, work: Callable[[], None], *, threads: int) -> Timed:
    """Return the time on the wall per call, of ``threads`` threads at once."""

    def run() -> float:
        start = time.perf_counter()
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
        return (time.perf_counter() - start) / (threads * CALLS)

    return run
