"""Moments as messages."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp


def of_ms(unix_ms: int) -> Timestamp:
    """Return the message of Unix milliseconds."""
    seconds, rest = divmod(unix_ms, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def of(moment: datetime) -> Timestamp:
    """Return the message of a moment, to the millisecond."""
    return of_ms(int(moment.timestamp() * 1000))
