"""The journal: one JSON line per event on standard error, redacted.

Callers never hand a subject's number or name to it; that is what types are for
(`SubjectNumber` is masked). Redaction here is the second line of defence: what
looks like a citizen's number or a unified credit code is dropped from every
text, a traceback included, whoever wrote it there. Issuers' credit codes go with
it, so an identifier in the journal shows its serial but not its issuer.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Final, TextIO

from yinxin_proto.clock import Clock

REDACTED: Final = "[redacted]"

_NUMBERS: Final = re.compile(
    # GB 11643: region, birth date, sequence, check; also in full-width digits.
    r"(?<!\d)\d{6}[ \-]?\d{8}[ \-]?\d{3}[\dXxＸｘ](?!\d)"
    # GB 32100: two for the authority, six for the region, nine and a check.
    r"|(?<![0-9A-Za-z])[0-9A-HJ-NP-RT-UW-Ya-hj-np-rt-uw-y]{2}\d{6}"
    r"[0-9A-HJ-NP-RT-UW-Ya-hj-np-rt-uw-y]{10}(?![0-9A-Za-z])"
)
_SECRETS: Final = frozenset(
    {"number", "passphrase", "password", "private_key", "secret", "token", "url"}
)
# Some readers end a line at these too; JSON lets them stand.
_LINE_ENDS: Final = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_EIGHTEEN_DIGITS: Final = 10**17
_MAX_TEXT: Final = 8192
_MAX_DEPTH: Final = 4


def redact(text: str) -> str:
    """Replace what looks like a citizen's number or a unified credit code."""
    return _NUMBERS.sub(REDACTED, text)


class Journal:
    """Writes events, each as one line; safe to share between threads.

    Args:
        clock: Dates the lines.
        stream: Where they go; standard error by default.
        context: Fields that every line carries, e.g. the worker's name.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        stream: TextIO | None = None,
        context: Mapping[str, object] | None = None,
    ) -> None:
        self._clock = clock
        self._stream = stream if stream is not None else sys.stderr
        self._context = dict(context or {})
        self._lock = threading.Lock()

    def bind(self, **fields: object) -> Journal:
        """Return a journal that adds ``fields`` to each line, on the same stream."""
        bound = Journal(clock=self._clock, stream=self._stream, context=self._context | fields)
        bound._lock = self._lock
        return bound

    def info(self, event: str, **fields: object) -> None:
        """Record something ordinary; ``event`` is a stable name, not a sentence."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Record something that an operator should look at in time."""
        self._write("warning", event, fields)

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Record a fault of ours, with the traceback of ``error``."""
        if error is not None:
            fields["error"] = "".join(traceback.format_exception(error))
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        moment = self._clock.now().isoformat(timespec="milliseconds")
        line = {"time": moment, "level": level, "event": event}
        cleaned = {key: _clean(key, value, 0) for key, value in (self._context | fields).items()}
        text = json.dumps(line | cleaned, ensure_ascii=False).translate(_LINE_ENDS) + "\n"
        with self._lock:
            self._stream.write(text)
            self._stream.flush()


class JournalHandler(logging.Handler):
    """Carries what libraries log (gRPC, Alembic) into the journal."""

    def __init__(self, journal: Journal, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write one library's record as an event ``log``."""
        error = record.exc_info[1] if record.exc_info else None
        if record.levelno >= logging.ERROR:
            self._journal.error("log", error, logger=record.name, text=record.getMessage())
        else:
            self._journal.warning("log", logger=record.name, text=record.getMessage())


def _clean(key: str, value: object, depth: int) -> object:
    if key in _SECRETS:
        return REDACTED
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return REDACTED if abs(value) >= _EIGHTEEN_DIGITS else value
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {redact(str(k)): _clean(str(k), v, depth + 1) for k, v in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, list | tuple):
        return [_clean("", item, depth + 1) for item in value]
    # Redacted before it is cut: half a number is still too much of one.
    text = redact(str(value))
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
