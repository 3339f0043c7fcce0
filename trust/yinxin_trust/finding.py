"""What a check of the stored data found wrong, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction in what is stored."""

    code: str
    """Stable code of what is wrong, e.g. ``HEAD_ROOT``."""
    where: str
    """Which part of the region: ``log 1``, ``licence``."""
    detail: str
    """What was expected and found; how many, and where first. No subject's data."""
