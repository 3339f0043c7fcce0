"""What these commands say, and to whom."""

from __future__ import annotations

from typing import Final

import typer

from yinxin_edge.terminal import Terminal, Texts

TEXTS: Final = Texts.load("yinxin_trust.command")
"""Texts of the region's own commands, their help included."""


def terminal_of(context: typer.Context) -> Terminal:
    """Return the terminal that the command line handed in, knowing these texts."""
    terminal: Terminal = context.find_object(Terminal) or Terminal.system()
    return terminal.extended(TEXTS)
