"""How a command line ends when nobody reads it: never with a verdict's status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yinxin_edge.terminal import ExitStatus

_PROGRAM = """
import sys
import typer
from yinxin_edge.terminal import Terminal, run

application = typer.Typer()

@application.command()
def speak(context: typer.Context) -> None:
    for number in range({lines}):
        context.obj.plain(f"line {{number}}")

sys.exit(run(typer.main.get_command(application), [], terminal=Terminal.system()))
"""


def _speak(lines: int, output: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(lines=lines)],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_stopped_is_no_verdict(lines: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = _speak(lines, writing)
    finally:
        os.close(writing)

    assert done.returncode == ExitStatus.PIPE_CLOSED
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("lines", [1, 100_000])
def test_output_that_cannot_be_written_is_a_fault(lines: int) -> None:
    with Path("/dev/full").open("wb") as full:
        done = _speak(lines, full.fileno())

    assert done.returncode == ExitStatus.FAULT
    assert "Traceback" not in done.stderr
