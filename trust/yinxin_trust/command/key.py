"""``yinxin key``: every key of the region, and its rotation step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_edge.terminal import Terminal
from yinxin_proto.error import InvalidArgumentError, Violation
from yinxin_trust.command import keytheft
from yinxin_trust.command.console import audited
from yinxin_trust.command.opening import RegionDirectory, open_region
from yinxin_trust.command.passphrase import (
    OfflinePassphraseFile,
    PassphraseFile,
    PassphraseSource,
)
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.diagnosis import show_moment
from yinxin_trust.keyinventory import KeyVersion, in_stages
from yinxin_trust.keyoverview import KeyLine, overview
from yinxin_trust.keyring import LOG_KINDS
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.region import Region
from yinxin_trust.rotation.engine import Progress, Rotation, Waiting
from yinxin_trust.rotation.plans import takes_offline_keys
from yinxin_trust.servercertificate import ServerCertificate

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)

_LOOK_AGAIN: Final = timedelta(milliseconds=300)
_PATIENCE: Final = timedelta(minutes=10)
"""How long ``--wait`` waits for what has no known end: the running server does it."""

PurposeArgument = Annotated[Purpose, typer.Argument(metavar="PURPOSE", show_default=False)]
Owner = Annotated[str, typer.Option("--owner", metavar="CODE", show_default=False)]
Version = Annotated[int | None, typer.Option("--version", metavar="N", min=1, show_default=False)]


@app.callback()
def key() -> None:
    """Keys and their rotation."""


@app.command("list")
def list_keys(
    context: typer.Context,
    directory: RegionDirectory,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show every key: where it stands, since when, what is due and what it waits for."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    with open_region(directory, passphrases) as region:
        lines = list(overview(region.storage, region.rotation(), region.settings.rotation))
        now = region.clock.now()
    if as_json:
        terminal.json([_json(line) for line in lines])
        return
    names = ("purpose", "owner", "version", "suite", "stage", "since", "due", "next")
    rows = [
        (
            line.key.ref.purpose.value,
            line.key.ref.owner,
            line.key.ref.version,
            line.key.suite,
            terminal.text(f"key.stage.{line.key.stage}"),
            show_moment(line.since),
            _due(terminal, line, is_due=line.is_due(now)),
            _next(terminal, line),
        )
        for line in lines
    ]
    terminal.table([terminal.text(f"key.column.{name}") for name in names], rows)


@app.command("rotate")
def rotate(
    context: typer.Context,
    directory: RegionDirectory,
    purpose: PurposeArgument,
    owner: Owner = "",
    wait: Annotated[bool, typer.Option("--wait")] = False,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Rotate a key as far as it goes now, and say what it waits for."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    with open_region(directory, passphrases, offline=True) as region:
        whose = owner_of(region, purpose, owner)
        rotation = region.rotation()
        with audited(region, "RotateKey", f"keys/{whose}.{purpose}"):
            progress = rotation.rotate(whose, purpose)
        _show_steps(terminal, region, directory, progress)
        if wait:
            progress = _until_done(
                terminal, region, directory, rotation, (whose, purpose), progress
            )
        waiting = progress.waiting
        if waiting is None:
            terminal.line("key.rotated", style="green", purpose=purpose.value, owner=whose)
        else:
            terminal.note("key.waits", style="", what=_waiting(terminal, waiting))


def _until_done(
    terminal: Terminal,
    region: Region,
    directory: Path,
    rotation: Rotation,
    key: tuple[str, Purpose],
    progress: Progress,
) -> Progress:
    """Take step after step as each may be taken, doing the background's share as well."""
    given_up = time.monotonic() + _PATIENCE.total_seconds()
    while progress.waiting is not None:
        until = progress.waiting.until
        left = _LOOK_AGAIN if until is None else until - region.clock.now()
        if until is None and time.monotonic() > given_up:
            break
        time.sleep(min(max(left, timedelta(milliseconds=20)), _LOOK_AGAIN).total_seconds())
        rotation.work(key[1])
        progress = rotation.resume(*key)
        _show_steps(terminal, region, directory, progress)
    return progress


def _show_steps(terminal: Terminal, region: Region, directory: Path, progress: Progress) -> None:
    for step, ref in progress.steps:
        terminal.line("key.done", step=terminal.text(f"key.step.{step}"), ref=str(ref))
        if step is Step.ACTIVATE and ref.purpose in (Purpose.TLS_SERVER, Purpose.TLS_CA):
            # Running servers see the file change; they need not be told.
            ServerCertificate(region=region, directory=directory).ensure()


def _step(step: Step, help_text: str) -> Callable[..., None]:
    """Return the command of a single step."""

    def command(
        context: typer.Context,
        directory: RegionDirectory,
        purpose: PurposeArgument,
        owner: Owner = "",
        version: Version = None,
        passphrase_file: PassphraseFile = None,
        offline_passphrase_file: OfflinePassphraseFile = None,
    ) -> None:
        terminal = terminal_of(context)
        passphrases = PassphraseSource(
            terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
        )
        needs_offline = takes_offline_keys(purpose, step)
        with open_region(directory, passphrases, offline=needs_offline) as region:
            whose = owner_of(region, purpose, owner)
            rotation = region.rotation()
            with audited(region, f"{step.value.capitalize()}Key", f"keys/{whose}.{purpose}"):
                taken = _take(region, rotation, step, (whose, purpose), version)
            _show_steps(
                terminal, region, directory, Progress(steps=((step, taken.ref),), waiting=None)
            )

    command.__doc__ = help_text
    return command


_SOURCE: Final = {
    Step.PUBLISH: Stage.PREPARED,
    Step.ACTIVATE: Stage.PUBLISHED,
    Step.RETIRE: Stage.RETIRING,
    Step.DESTROY: Stage.RETIRED,
}


def _take(
    region: Region,
    rotation: Rotation,
    step: Step,
    key: tuple[str, Purpose],
    version: int | None,
) -> KeyVersion:
    if step is Step.PREPARE:
        return rotation.prepare(*key)
    if version is None:
        with region.storage.read() as conn:
            found = in_stages(conn, *key, (_SOURCE[step],))
        # None in that stage: the step refuses, and says in which the key is.
        version = found[0].ref.version if found else _newest(region, key)
    act = {
        Step.PUBLISH: rotation.publish,
        Step.ACTIVATE: rotation.activate,
        Step.RETIRE: rotation.retire,
        Step.DESTROY: rotation.destroy,
    }[step]
    return act(KeyRef(*key, version))


def _newest(region: Region, key: tuple[str, Purpose]) -> int:
    with region.storage.read() as conn:
        known = in_stages(conn, *key, tuple(Stage))
    return known[-1].ref.version if known else 1


for _name, _help in (
    (Step.PREPARE, "Make the next version of a key, and certify it."),
    (Step.PUBLISH, "Let whoever judges a prepared key know it."),
    (Step.ACTIVATE, "Take a published key into use."),
    (Step.RETIRE, "Put on record that a superseded key signs no more."),
    (Step.DESTROY, "Forget the private half of a retired key for good."),
):
    app.command(_name.value)(_step(_name, _help))


def owner_of(region: Region, purpose: Purpose, given: str) -> str:
    """Return whose key is meant: the region's own unless it is a log's or an authority's.

    Raises:
        InvalidArgumentError: An authority's, and none is named (``KEY_OWNER``).
    """
    code = region.namespace.code
    if purpose is Purpose.LOG:
        kind = given.removeprefix(f"{code}-") or LOG_KINDS[1]
        if kind in LOG_KINDS.values():
            return f"{code}-{kind}"
        raise _owner("licences or uses")
    if purpose in (Purpose.LICENCE, Purpose.APPROVAL):
        if not given:
            raise _owner("the authority's unified social credit code")
        return given
    if given not in ("", code):
        raise _owner(f"nobody's but the region's own, {code}")
    return code


def _owner(expected: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "it is not clear whose key is meant",
        violations=[Violation("owner", expected, "KEY_OWNER")],
    )


def _due(terminal: Terminal, line: KeyLine, *, is_due: bool) -> str:
    if line.due is None:
        return ""
    shown = show_moment(line.due)
    return terminal.text("key.overdue", at=shown) if is_due else shown


def _next(terminal: Terminal, line: KeyLine) -> str:
    if line.next is None:
        return ""
    if line.waiting is not None:
        return _waiting(terminal, line.waiting)
    return terminal.text("key.may", step=terminal.text(f"key.step.{line.next}"))


def _waiting(terminal: Terminal, waiting: Waiting) -> str:
    step = terminal.text(f"key.step.{waiting.step}")
    if waiting.until is not None:
        return terminal.text("key.until", step=step, at=show_moment(waiting.until))
    reason = terminal.text(f"key.reason.{waiting.reason}")
    return terminal.text("key.for", step=step, reason=reason)


def _json(line: KeyLine) -> dict[str, object]:
    waiting = line.waiting
    return {
        "owner": line.key.ref.owner,
        "purpose": line.key.ref.purpose.value,
        "version": line.key.ref.version,
        "suite": line.key.suite,
        "stage": line.key.stage.value,
        "since": line.since.isoformat(),
        "due": None if line.due is None else line.due.isoformat(),
        "next": None if line.next is None else line.next.value,
        "waitsFor": None if waiting is None else waiting.reason,
        "until": None if waiting is None or waiting.until is None else waiting.until.isoformat(),
        "thumbprint": None if line.key.thumbprint is None else line.key.thumbprint.hex(),
    }


keytheft.register(app)
