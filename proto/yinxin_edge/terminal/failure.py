"""Errors at the command line: one clear message, and an exit status by class."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from rich.console import RenderableType

from yinxin_edge.terminal.console import Terminal, printable
from yinxin_edge.terminal.text import Language
from yinxin_proto import error as tree
from yinxin_proto.error import Violation, YinxinError

MAX_SHOWN: Final = 200
"""Bound on the violations listed; a file of a million rows may have as many."""


class ExitStatus(IntEnum):
    """What a command exits with; sysexits.h from 64 on."""

    PASSED = 0
    FAILED = 1
    INDETERMINATE = 2
    USAGE = 64
    BROKEN_INPUT = 65
    UNREACHABLE = 69
    FAULT = 70
    NOT_PERMITTED = 77
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    """As if SIGPIPE had ended it: whoever read the output stopped reading."""


EXIT_STATUSES: Final[dict[type[YinxinError], ExitStatus]] = {
    tree.MalformedError: ExitStatus.BROKEN_INPUT,
    tree.VerificationError: ExitStatus.BROKEN_INPUT,
    tree.InvalidArgumentError: ExitStatus.BROKEN_INPUT,
    tree.UnavailableError: ExitStatus.UNREACHABLE,
    tree.DeadlineExceededError: ExitStatus.UNREACHABLE,
    tree.UnauthenticatedError: ExitStatus.NOT_PERMITTED,
    tree.PermissionDeniedError: ExitStatus.NOT_PERMITTED,
    tree.WrongPassphraseError: ExitStatus.NOT_PERMITTED,
    YinxinError: ExitStatus.FAULT,
}
"""By class; the nearest one in the tree counts."""
EXIT_REASONS: Final = {
    "PORT_TAKEN": ExitStatus.UNREACHABLE,
    "REGION_LOCKED": ExitStatus.UNREACHABLE,
}
"""By reason, which wins: what another process has can be had later."""


def exit_status(error: YinxinError) -> ExitStatus:
    """Return the exit status of a command that ended with ``error``."""
    if error.reason in EXIT_REASONS:
        return EXIT_REASONS[error.reason]
    return next(EXIT_STATUSES[kind] for kind in type(error).__mro__ if kind in EXIT_STATUSES)


def show_error(terminal: Terminal, error: YinxinError) -> None:
    """Say on the error stream what was wrong, what to do, and every field concerned."""
    title = _find(terminal, f"error.{error.code}", error.code)
    members: list[tuple[str, object]] = [
        (terminal.text("shown.code"), _code(error)),
        (terminal.text("shown.detail"), error.message),
    ]
    advice = _find(terminal, f"advice.{error.reason}", "") or _find(
        terminal, f"advice.{error.code}", ""
    )
    if advice:
        members.append((terminal.text("shown.advice"), advice))
    rows = _violations(terminal, error)
    columns = [terminal.text(f"shown.{name}") for name in ("field", "problem", "reason")]
    more: list[RenderableType] = []
    if rows and terminal.err.is_terminal:
        more.append(terminal.grid(columns, rows))
    terminal.record(
        terminal.text("shown.error", title=title), members, style="red", more=more, to=terminal.err
    )
    if rows and not terminal.err.is_terminal:
        terminal.table(columns, rows, to=terminal.err)


def _code(error: YinxinError) -> str:
    return error.code if error.reason == error.code else f"{error.code} / {error.reason}"


def _violations(terminal: Terminal, error: YinxinError) -> list[list[str]]:
    rows = [
        [printable(item.field), printable(_problem(terminal, item)), printable(item.reason)]
        for item in error.violations[:MAX_SHOWN]
    ]
    left = len(error.violations) - len(rows)
    if left > 0:
        rows.append(["…", terminal.text("shown.more", count=left), ""])
    return rows


def _problem(terminal: Terminal, violation: Violation) -> str:
    """The description is in English; common reasons are known in Chinese.

    A Chinese text that ends with a colon has the description put after it,
    where the bounds that were exceeded are.
    """
    known = _find(terminal, f"violation.{violation.reason}", "")
    if not known or terminal.language is Language.EN:
        return violation.description or known
    return f"{known}{violation.description}" if known.endswith("：") else known


def _find(terminal: Terminal, key: str, default: str) -> str:
    return terminal.texts.find(key, terminal.language) or default
