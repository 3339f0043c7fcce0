"""Selection: which disclosures a holder must show for what (RFC 9901 §7.2).

A disclosure may stand within another; showing the inner one alone would leave
it unreferenced, so its ancestors go with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from yinxin_proto.disclosure import DIGESTS, DOTS, Contents
from yinxin_proto.strict import Json

Path: TypeAlias = tuple[str | int, ...]
"""Where a value is: member names, and indexes into arrays *as issued*."""


class Place(NamedTuple):
    """Where a digest stands in the issued claims."""

    path: Path
    """Path of the value that it conceals."""
    parent: str | None
    """Digest of the disclosure that holds it; None where the payload does."""


def locate(payload: dict[str, Json], contents: Contents) -> dict[str, Place]:
    """Find where each disclosure belongs, for choosing among them.

    Args:
        payload: A payload and
        contents: its disclosures, both accepted by `disclose`.

    Returns:
        Place by digest, outer ones before what they hold.
    """
    places: dict[str, Place] = {}
    pending: list[tuple[Json, Path, str | None]] = [(payload, (), None)]
    while pending:
        value, path, parent = pending.pop()
        if isinstance(value, dict):
            concealed = [(d, contents[d]) for d in value.get(DIGESTS, ()) if d in contents]
            for digest, array in concealed:
                places[digest] = Place((*path, array[1]), parent)
                pending.append((array[2], (*path, array[1]), digest))
            pending += [(v, (*path, n), parent) for n, v in value.items() if n != DIGESTS]
        elif isinstance(value, list):
            for index, element in enumerate(value):
                digest = element.get(DOTS) if isinstance(element, dict) else None
                if digest is None:
                    pending.append((element, (*path, index), parent))
                elif digest in contents:
                    places[digest] = Place((*path, index), parent)
                    pending.append((contents[digest][1], (*path, index), digest))
    return places


def chosen(places: Mapping[str, Place], keep: Callable[[Path], bool]) -> set[str]:
    """Return the digests of the disclosures to keep, ancestors included."""
    kept: set[str] = set()
    for digest, place in places.items():
        if keep(place.path):
            wanted: str | None = digest
            while wanted is not None and wanted not in kept:
                kept.add(wanted)
                wanted = places[wanted].parent
    return kept
