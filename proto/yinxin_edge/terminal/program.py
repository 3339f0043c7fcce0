"""Running a command line: whatever happens, a message and an exit status, never a traceback."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import typer

from yinxin_edge.libcrypto import choose_libcrypto
from yinxin_edge.terminal.console import Terminal
from yinxin_edge.terminal.failure import ExitStatus, exit_status, show_error
from yinxin_edge.terminal.help import Command
from yinxin_edge.terminal.text import Language
from yinxin_proto.error import InternalError, YinxinError

DEBUG_VARIABLE: Final = "YINXIN_DEBUG"
"""Environment variable that asks for the traceback of an unforeseen fault."""

_USAGE: Final = 2
"""Typer's own exit status for a usage error; a verdict's INDETERMINATE here."""


def run(
    command: Command, arguments: Sequence[str], *, terminal: Terminal, program: str = "yinxin"
) -> int:
    """Run a command and return its exit status.

    Args:
        command: What ``typer.main.get_command`` made.
        arguments: Without the program's name.
        terminal: Becomes the context's object, and gets the errors.
        program: Name shown in help.
    """
    status = _run(command, arguments, terminal, program)
    try:
        # Here, since a failure at the interpreter's end would change the status unseen.
        terminal.out.file.flush()
    except BrokenPipeError:
        _discard_output()
        return int(ExitStatus.PIPE_CLOSED)
    except OSError as error:
        _discard_output()
        return _show_fault(terminal, error)
    return status


def _run(command: Command, arguments: Sequence[str], terminal: Terminal, program: str) -> int:
    try:
        choose_libcrypto()
        status = command.main(
            args=list(arguments), prog_name=program, standalone_mode=False, obj=terminal
        )
    except YinxinError as error:
        show_error(terminal, error)
        return int(exit_status(error))
    except typer.TyperException as error:
        return _show_usage(terminal, error)
    except (typer.Abort, KeyboardInterrupt):
        status = ExitStatus.INTERRUPTED
    except SystemExit:
        # Typer's answer to a closed pipe, with a status that is a verdict's FAILED here.
        return int(ExitStatus.PIPE_CLOSED)
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback ever
        return _show_fault(terminal, error)
    if status == ExitStatus.INTERRUPTED:
        terminal.note("shown.interrupted", style="yellow")
    return status if isinstance(status, int) else 0


def _discard_output() -> None:
    """Let nothing be written any more: what is left would fail again at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _show_usage(terminal: Terminal, error: typer.TyperException) -> int:
    context: typer.Context | None = getattr(error, "ctx", None)
    key = f"usage.{type(error).__name__}"
    said = terminal.text(key) if key in terminal.texts else ""
    message = error.format_message()
    chinese = terminal.language is Language.ZH and said
    members: list[tuple[str, object]] = [
        (terminal.text("shown.detail"), f"{said}（{message}）" if chinese else message)
    ]
    if context is not None:
        members.append((terminal.text("shown.usage"), _usage(context)))
        members.append((terminal.text("shown.help"), f"{context.command_path} --help"))
    terminal.record(terminal.text("shown.usage_error"), members, style="red", to=terminal.err)
    return int(ExitStatus.USAGE if error.exit_code == _USAGE else ExitStatus.BROKEN_INPUT)


def _usage(context: typer.Context) -> str:
    usage: str = context.get_usage()
    return " ".join(usage.removeprefix("Usage:").split())


def _show_fault(terminal: Terminal, error: Exception) -> int:
    """A fault of ours: its class is safe to show, its text may quote what it read."""
    fault = InternalError(
        f"{type(error).__name__}; set {DEBUG_VARIABLE}=1 to see where", reason="UNFORESEEN"
    )
    show_error(terminal, fault)
    if os.environ.get(DEBUG_VARIABLE) == "1":
        terminal.err.print("".join(traceback.format_exception(error)), soft_wrap=True)
    return int(ExitStatus.FAULT)
