"""Files that a command reads: named, or standard input as ``-``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_proto.error import MalformedError

STANDARD_INPUT: Final = Path("-")

InputFile = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]


def read_input(path: Path, *, max_bytes: int) -> bytes:
    """Return the bytes of a file, or of standard input.

    Raises:
        typer.BadParameter: There is no such file.
        MalformedError: It cannot be read (``FILE_UNREADABLE``), or is larger
            (``TOO_LARGE``).
    """
    try:
        if path == STANDARD_INPUT:
            data = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with path.open("rb") as file:
                data = file.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise typer.BadParameter(f"file {path} does not exist") from error
    except OSError as error:
        raise MalformedError(
            f"{path} cannot be read: {error.strerror}", reason="FILE_UNREADABLE"
        ) from error
    if len(data) > max_bytes:
        raise MalformedError(f"{path} has more than {max_bytes} bytes", reason="TOO_LARGE")
    return data
