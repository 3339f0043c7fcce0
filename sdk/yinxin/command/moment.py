"""Moments that people type: a day, or a day and a time."""

from __future__ import annotations

from datetime import datetime

import typer

from yinxin.command.licenceview import CHINA


def parse_moment(text: str) -> datetime:
    """Return the moment that a text names; at UTC+8 unless it says otherwise.

    A day alone stands for its beginning: a licence is valid from the beginning
    of its first day to the end of its last.

    Raises:
        typer.BadParameter: Not ISO 8601.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            "a moment is 2026-01-31, 2026-01-31T09:30 or 2026-01-31T09:30:00+08:00"
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=CHINA)
