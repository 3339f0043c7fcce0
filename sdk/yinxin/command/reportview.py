"""A report as the person at the window reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Styled

from yinxin.command.licenceview import show_moment
from yinxin_edge.terminal import Terminal
from yinxin_edge.terminal.console import printable
from yinxin_verifier.reason import Outcome, Text
from yinxin_verifier.report import CheckResult, Indication, Report

_STYLES: Final = {
    Indication.TOTAL_PASSED: "green",
    Indication.TOTAL_FAILED: "red",
    Indication.INDETERMINATE: "yellow",
}
_SIGNS: Final = {
    Outcome.PASSED: ("✓", "green"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.UNDETERMINED: ("?", "yellow"),
    Outcome.NOT_APPLICABLE: ("–", "dim"),
    Outcome.NOT_RUN: ("·", "dim"),
}
_DECIDING: Final = (Outcome.FAILED, Outcome.UNDETERMINED)
_WIDE: Final = 90
"""Columns of a screen that has room for what each check rests on."""
_FACE: Final = (
    "ZZMC",
    "ZZBH",
    "ZZBS",
    "ZZBFJG",
    "ZZBFRQ",
    "ZZYXQQSRQ",
    "ZZYXQJZRQ",
)
"""Claims on the face of every licence, GB/T 36903, in the order of reading."""


def show_report(
    terminal: Terminal, report: Report, *, field_names: Mapping[str, Text], trust: str | None
) -> None:
    """Print a report: the verdict, why, what to do, and every check.

    Args:
        terminal: Where to.
        report: The report.
        field_names: Display names of the type's fields.
        trust: How the root was pinned, where that is this verifier's to say.
    """
    title = terminal.text(f"report.{report.indication.value}")
    members = [
        (terminal.text(f"report.row.{name}"), value) for name, value in _why(terminal, report)
    ]
    if trust is not None:
        members.append((terminal.text("report.row.trust"), trust))
    if report.indication is Indication.TOTAL_PASSED:
        members += _face(terminal, report.require_passed(), field_names)
    more: list[RenderableType] = [_checks(terminal, report)]
    terminal.record(title, members, style=_STYLES[report.indication], more=more)
    if not terminal.out.is_terminal:
        terminal.table(_columns(terminal), (_plain(terminal, check) for check in report.checks))


def _why(terminal: Terminal, report: Report) -> Iterator[tuple[str, object]]:
    if report.reason is not None:
        found = next(
            (c for c in report.checks if c.outcome in _DECIDING and c.reason == report.reason),
            None,
        )
        yield "why", terminal.pick(report.text if found is None else found.text)
    if report.advice is not None:
        yield "advice", terminal.pick(report.advice)
    if report.reason is not None:
        yield (
            "code",
            " / ".join(
                str(part)
                for part in dict.fromkeys((report.sub_indication, report.code, report.reason))
                if part is not None
            ),
        )
    known = f"report.policy.{report.policy}"
    yield "policy", terminal.text(known) if known in terminal.texts else report.policy
    yield "at", show_moment(report.at)
    if report.trust_age is not None:
        yield "trust_age", _age(terminal, report.trust_age)


def _face(
    terminal: Terminal, claims: Mapping[str, Any], field_names: Mapping[str, Text]
) -> Iterator[tuple[str, object]]:
    for name in _FACE:
        if name in claims:
            yield terminal.text(f"claim.{name}"), claims[name]
    for holder in claims.get("CZZT", ()):
        yield terminal.text("claim.CZZT"), _holder(terminal, holder)
    for name, value in claims.items():
        if name.startswith("KZ_"):
            known = field_names.get(name)
            yield (name if known is None else terminal.pick(known)), value


def _holder(terminal: Terminal, holder: object) -> str:
    members = holder if isinstance(holder, Mapping) else {}
    shown = [str(members[name]) for name in ("CZZT", "CZZTDM") if name in members]
    return "  ".join(shown) or terminal.text("report.undisclosed")


def _columns(terminal: Terminal) -> list[str]:
    return [
        terminal.text(f"report.column.{name}") for name in ("check", "outcome", "evidence", "age")
    ]


def _plain(terminal: Terminal, check: CheckResult) -> tuple[str, str, str, str]:
    said = terminal.pick(check.text)
    return (
        f"{check.number} {terminal.pick(check.title)}",
        f"{check.outcome.value} {said}",
        terminal.pick(check.evidence),
        _age(terminal, check.age),
    )


def _checks(terminal: Terminal, report: Report) -> Table:
    """Return the checks as a table; on a narrow screen what they rest on is left out."""
    wide = terminal.out.width >= _WIDE
    check_name, outcome_name, evidence_name, age_name = _columns(terminal)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("#", justify="right", style="dim")
    table.add_column(check_name, overflow="fold")
    table.add_column("", min_width=1)
    table.add_column(outcome_name, overflow="fold", ratio=1)
    if wide:
        table.add_column(evidence_name, overflow="fold", style="dim", ratio=1)
    table.add_column(age_name, no_wrap=True)
    for check in report.checks:
        sign, style = _SIGNS[check.outcome]
        # A check that did not run says so by its sign alone: the first that failed matters.
        said = "" if check.outcome is Outcome.NOT_RUN else printable(terminal.pick(check.text))
        cells = [Styled(said, style=style)]
        if wide:
            cells.append(Styled(printable(terminal.pick(check.evidence))))
        table.add_row(
            str(check.number),
            Styled(printable(terminal.pick(check.title))),
            Styled(sign, style=style),
            *cells,
            _age(terminal, check.age),
        )
    return table


def _age(terminal: Terminal, age: timedelta | None) -> str:
    if age is None:
        return ""
    minutes = max(0, int(age.total_seconds()) // 60)
    if minutes < 120:
        return terminal.text("report.minutes", count=minutes)
    if minutes < 48 * 60:
        return terminal.text("report.hours", count=minutes // 60)
    return terminal.text("report.days", count=minutes // 1440)
