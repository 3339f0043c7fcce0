"""One numbered step of the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, TypeAlias

from yinxin_verifier.examination import Examination
from yinxin_verifier.reason import Finding, Text


class Grounds(NamedTuple):
    """What a step's finding rests on."""

    text: Text
    """In words; never a subject's number or name."""
    age: timedelta | None = None
    """How old the evidence was at ``now``; None where it does not age."""


Check: TypeAlias = Callable[[Examination], Finding | None]
"""Returns None for a pass; reads the examination, and adds to it."""
Ground: TypeAlias = Callable[[Examination], Grounds]
"""Describes the evidence of a step that has run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One check, where it comes from, and every way it can turn out."""

    number: int
    """Position in the order of evaluation, from 1."""
    name: str
    """Stable name, in reports and docs."""
    title: Text
    """What is checked."""
    clause: str
    """The rule applied."""
    check: Check
    findings: tuple[Finding, ...]
    """Every finding that ``check`` may return (perhaps with a narrower reason)."""
    requires: int
    """Bits of the steps that this one builds on."""
    grounds: Ground
    bit: int
    """This step's own bit, for ``requires``."""
