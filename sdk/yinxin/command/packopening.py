"""Opening a pack for one command: which root is pinned, and where that is remembered."""

from __future__ import annotations

from hashlib import sha256
from os import environ
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin.command.inputfile import read_input
from yinxin.credentials import Credentials
from yinxin.verifier import Verifier
from yinxin_edge.terminal import Terminal
from yinxin_proto.repository_metadata import MAX_ROOT_BYTES
from yinxin_verifier.pack import Pinning

SHOWN_FINGERPRINT: Final = 16
"""Digits of a fingerprint that a person reads at a glance."""

PackOption = Annotated[
    Path | None, typer.Option("--pack", metavar="DIR|FILE", exists=True, show_default=False)
]
PinOption = Annotated[
    Path | None, typer.Option("--pin", metavar="ROOT", exists=True, show_default=False)
]
PqRootOption = Annotated[
    Path | None, typer.Option("--pq-root", metavar="FILE", exists=True, show_default=False)
]
StateOption = Annotated[Path | None, typer.Option("--state", metavar="FILE", show_default=False)]
OptionalCredentials = Annotated[
    Path | None,
    typer.Option("--credentials", metavar="DIR", envvar="YINXIN_CREDENTIALS", show_default=False),
]


def open_verifier(
    terminal: Terminal,
    pack: Path,
    *,
    pin: Path | None,
    credentials: Path | None,
    pq_root: Path | None = None,
    state: Path | None = None,
) -> Verifier:
    """Open a pack under a pinned root, and remember what was seen.

    Args:
        terminal: Told when a root is trusted on first use.
        pack: The pack.
        pin: The root to pin.
        credentials: Where no root is given: whose root, handed over at
            enrolment, is pinned.
        pq_root: The parallel ML-DSA root to pin as well.
        state: Where it is remembered; a place of this user's by default.
    """
    if pin is None and credentials is not None:
        pin = Credentials.load(credentials).root
    place = state or default_state(pin)
    verifier = Verifier.open(pack, pin=pin, pq_root=pq_root, state=place)
    if verifier.pinning is Pinning.FIRST_USE:
        terminal.note(
            "verify.first_use", style="yellow", fingerprint=verifier.root_fingerprint, path=place
        )
    return verifier


def default_state(pin: Path | None) -> Path:
    """Return where a verifier remembers what it saw, unless told otherwise.

    One home, one memory; whoever names the root has one for each.
    """
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    folder = Path(home) / "yinxin" / "verifier"
    if pin is None:
        return folder / "home.json"
    root = read_input(pin, max_bytes=MAX_ROOT_BYTES)
    return folder / f"root-{sha256(root).hexdigest()[:SHOWN_FINGERPRINT]}.json"


def describe_pinning(terminal: Terminal, verifier: Verifier) -> str:
    """Return how the root came to be trusted, for people."""
    return terminal.text(
        f"verify.pinning.{verifier.pinning.value}",
        fingerprint=verifier.root_fingerprint[:SHOWN_FINGERPRINT],
    )
