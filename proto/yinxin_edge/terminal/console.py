"""Where a command writes: boxes and colours for a person, plain lines for a pipe."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import TextIOWrapper
from typing import Final, Protocol, Self, TextIO

import typer
from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from yinxin_edge.terminal.text import SHARED, Language, Texts
from yinxin_proto.strict import Json

# What moves the cursor, reorders or hides text: a claim or a server's message
# must not redraw the verdict.
_UNPRINTABLE: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff]"
)
_MAX_WIDTH: Final = 100
"""Of boxes: beyond it the eye loses the line."""


class Pair(Protocol):
    """One text in both languages, such as a report's."""

    @property
    def zh(self) -> str:
        """In Chinese."""
        ...

    @property
    def en(self) -> str:
        """In English."""
        ...


def printable(value: object) -> str:
    """Return a value as text in which nothing steers the terminal."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """The two streams of a command, and the language that it speaks.

    Results go to ``out``, everything about them to ``err``. A pipe gets no
    boxes: tables become lines with tabs, records become ``name: value``.
    """

    language: Language
    texts: Texts
    out: Console
    err: Console

    @classmethod
    def system(cls, language: Language = Language.ZH, texts: Texts = SHARED) -> Self:
        """Return the terminal of this process."""
        _encodable(sys.stdout)
        _encodable(sys.stderr)
        return cls(
            language=language,
            texts=texts,
            out=Console(markup=False, emoji=False, highlight=False),
            err=Console(markup=False, emoji=False, highlight=False, stderr=True),
        )

    def extended(self, texts: Texts) -> Self:
        """Return the same terminal, knowing further texts."""
        return replace(self, texts=self.texts | texts)

    def text(self, key: str, **values: object) -> str:
        """Return a text of the catalogue in the terminal's language."""
        return self.texts.get(key, self.language, **values)

    def pick(self, pair: Pair) -> str:
        """Return the half of a bilingual text that is in the terminal's language."""
        return pair.zh if self.language is Language.ZH else pair.en

    def line(self, key: str, *, style: str = "", **values: object) -> None:
        """Print a text of the catalogue as a result."""
        self._print(self.out, self.text(key, **values), style)

    def note(self, key: str, *, style: str = "dim", **values: object) -> None:
        """Print a text of the catalogue beside the result, on the error stream."""
        self._print(self.err, self.text(key, **values), style)

    def plain(self, text: str) -> None:
        """Print text that a program may read: neither wrapped nor styled."""
        _write(self.out, printable(text))

    def json(self, value: Json) -> None:
        """Print a value as JSON."""
        self.plain(json.dumps(value, ensure_ascii=False, indent=2, default=str))

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        title: str | None = None,
        to: Console | None = None,
    ) -> None:
        """Print rows under columns' names (texts, not keys)."""
        console = to or self.out
        listed = [[printable(cell) for cell in row] for row in rows]
        if not console.is_terminal:
            for row in (list(columns), *listed):
                line = "\t".join(cell.replace("\n", " ").replace("\t", " ") for cell in row)
                self._print(console, line, "")
            return
        console.print(self.grid(columns, listed, title=title))

    def grid(
        self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None
    ) -> Table:
        """Return a table for a person."""
        table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
        for name in columns:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*row)
        return table

    def record(
        self,
        title: str,
        members: Iterable[tuple[str, object]],
        *,
        style: str = "",
        more: Sequence[RenderableType] = (),
        to: Console | None = None,
    ) -> None:
        """Print names and values in a box; ``more`` follows them, for a person alone."""
        console = to or self.out
        listed = [(name, printable(value)) for name, value in members]
        if not console.is_terminal:
            self._print(console, title, "")
            for name, value in listed:
                self._print(console, f"{name}: {value}", "")
            return
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True, max_width=max(12, console.width // 3))
        rows.add_column(overflow="fold")
        for name, value in listed:
            rows.add_row(name, Text(value))
        console.print(
            Panel(
                Group(rows, *more),
                title=Text(title, style=f"bold {style}".strip()),
                title_align="left",
                border_style=style or "dim",
                box=ROUNDED,
                width=min(console.width, _MAX_WIDTH),
            )
        )

    def ask_secret(self, key: str, **values: object) -> str:
        """Ask for a passphrase without showing it.

        Raises:
            typer.Abort: There is nobody to ask.
        """
        answer: str = typer.prompt(self.text(key, **values), hide_input=True, err=True)
        return answer

    def _print(self, console: Console, text: str, style: str) -> None:
        if console.is_terminal:
            console.print(Text(printable(text), style=style))
        else:
            _write(console, printable(text))


def _write(console: Console, text: str) -> None:
    """Write a line as it is: Rich would turn tabs into blanks."""
    console.file.write(text + "\n")


def _encodable(stream: TextIO) -> None:
    """Let a stream show what it can: a console of another encoding is no reason to fail."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="replace")
