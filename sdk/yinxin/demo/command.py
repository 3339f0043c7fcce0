"""``yinxin demo``: run it, in a folder that is kept or in one that is not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin.demo.process import RegionCommands
from yinxin.demo.story import Story
from yinxin.licence import write_private
from yinxin_edge.clock import SystemClock, SystemEntropy
from yinxin_edge.terminal import Terminal, Texts
from yinxin_proto.error import AlreadyExistsError, ConfigurationError
from yinxin_proto.strict import b64url_encode
from yinxin_proto.suite import ES256

app: Final = typer.Typer(add_completion=False)

TEXTS: Final = Texts.load("yinxin.demo")
PASSPHRASE_FILE: Final = "passphrase.txt"  # noqa: S105 - a file name
_PASSPHRASE_BYTES: Final = 18


@app.command()
def demo(
    context: typer.Context,
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", show_default=False)] = None,
    suite: Annotated[str, typer.Option("--suite", metavar="SUITE")] = ES256.name,
) -> None:
    """Run a region from its founding to its verdicts."""
    base: Terminal = context.find_object(Terminal) or Terminal.system()
    terminal = base.extended(TEXTS)
    with _folder(directory) as root:
        terminal.line("demo.begin", style="bold")
        passphrase = b64url_encode(SystemEntropy().token(_PASSPHRASE_BYTES))
        if directory is not None:
            write_private(root / PASSPHRASE_FILE, passphrase.encode())
        commands = RegionCommands(
            directory=root / "region", passphrase=passphrase, language=terminal.language
        )
        story = Story(
            root=root, commands=commands, terminal=terminal, clock=SystemClock(), suite=suite
        )
        story.tell()
    if directory is None:
        terminal.note("demo.gone")
    else:
        terminal.note("demo.kept", root=root, file=PASSPHRASE_FILE, style="")


@contextmanager
def _folder(directory: Path | None) -> Iterator[Path]:
    """Yield the folder given, which must be empty, or one that is removed in the end."""
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="yinxin-demo-") as name:
            yield Path(name)
        return
    root = directory.resolve()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = any(root.iterdir())
    except OSError as error:
        raise ConfigurationError(
            f"cannot use {directory}: {error.strerror}", reason="FOLDER"
        ) from error
    if taken:
        raise AlreadyExistsError(
            f"{directory} is not empty; name a new folder", reason="FOLDER_IN_USE"
        )
    yield root
