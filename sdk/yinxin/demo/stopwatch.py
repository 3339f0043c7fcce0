"""What the demo did, and how long each step took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.text import Text

from yinxin_edge.terminal import Terminal


@dataclass
class Step:
    """One step of the demo; its result is filled in while it runs."""

    name: str
    """What is done."""
    result: str = ""
    seconds: float = 0.0


class Stopwatch:
    """Times steps, and says each when it is done.

    Args:
        terminal: Where to.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.steps: list[Step] = []

    @contextmanager
    def step(self, key: str) -> Iterator[Step]:
        """Time a block; ``demo.step.<key>`` names it."""
        step = Step(self._terminal.text(f"demo.step.{key}"))
        self.steps.append(step)
        started = time.perf_counter()
        with self._busy(step.name):
            yield step
        step.seconds = time.perf_counter() - started
        number = len(self.steps)
        self._terminal.line(
            "demo.done", number=number, name=step.name, result=step.result, time=_time(step.seconds)
        )

    @contextmanager
    def _busy(self, name: str) -> Iterator[None]:
        console = self._terminal.err
        if not console.is_terminal:
            yield
            return
        with console.status(Text(name)):
            yield

    def show(self) -> None:
        """Print the table of all steps."""
        columns = [
            self._terminal.text(f"demo.column.{name}") for name in ("step", "result", "time")
        ]
        rows = [
            (f"{number}. {step.name}", step.result, _time(step.seconds))
            for number, step in enumerate(self.steps, 1)
        ]
        total = _time(sum(step.seconds for step in self.steps))
        rows.append((self._terminal.text("demo.total"), "", total))
        self._terminal.table(columns, rows, title=self._terminal.text("demo.title"))


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
