"""The members of a JSON object, read one by one and none left over.

A signed document of ours says exactly what its schema names: a member that
nobody knows is refused, since a constraint that one reader ignores is no
constraint (design section 7).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TypeVar

from yinxin_proto.error import MalformedError
from yinxin_proto.strict import MAX_SAFE_INTEGER, Json, b64url_decode

_T = TypeVar("_T")


class Members:
    """One JSON object whose every member must be taken by name.

    Args:
        value: What the parser returned for the place ``where``.
        where: Path of the object in its document, for messages.
        known: Names that may occur; a name outside is refused at once.
        optional: Those of ``known`` that may be absent.

    Raises:
        MalformedError: Not an object (``MEMBER_TYPE``), a member outside
            ``known`` (``UNKNOWN_MEMBER``), or one absent (``MISSING_MEMBER``).
    """

    def __init__(
        self, value: Json, where: str, known: Collection[str], optional: Collection[str] = ()
    ) -> None:
        if not isinstance(value, dict):
            raise MalformedError(f"{where}: an object was expected", reason="MEMBER_TYPE")
        if not value.keys() <= set(known):
            raise MalformedError(
                f"{where}: a member outside {', '.join(known)}", reason="UNKNOWN_MEMBER"
            )
        missing = [name for name in known if name not in value and name not in optional]
        if missing:
            raise MalformedError(f"{where}: lacks {', '.join(missing)}", reason="MISSING_MEMBER")
        self._value = value
        self._where = where

    def path(self, name: str) -> str:
        """Return the path of a member, for messages."""
        return f"{self._where}.{name}"

    def has(self, name: str) -> bool:
        """Tell whether an optional member is there."""
        return name in self._value

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        """Return a string that ``pattern`` matches as a whole."""
        return self.one(name, as_text(pattern))

    def integer(self, name: str, *, at_least: int = 0) -> int:
        """Return an integer of ``at_least`` ≤ value ≤ 2^53-1; booleans are none."""
        return as_integer(self._value[name], self.path(name), at_least=at_least)

    def boolean(self, name: str) -> bool:
        """Return ``true`` or ``false``; numbers are neither."""
        value = self._value[name]
        if type(value) is not bool:
            raise MalformedError(
                f"{self.path(name)}: true or false was expected", reason="MEMBER_TYPE"
            )
        return value

    def octets(self, name: str, *, max_bytes: int, min_bytes: int = 1) -> bytes:
        """Return bytes from canonical base64url without padding."""
        return as_octets(
            self._value[name], self.path(name), max_bytes=max_bytes, min_bytes=min_bytes
        )

    def each(self, name: str, read: Callable[[Json, str], _T], *, max_items: int) -> tuple[_T, ...]:
        """Return ``read(element, path)`` of every element of an array."""
        value = self._value[name]
        if not isinstance(value, list):
            raise MalformedError(f"{self.path(name)}: an array was expected", reason="MEMBER_TYPE")
        if len(value) > max_items:
            raise MalformedError(
                f"{self.path(name)}: more than {max_items} elements", reason="TOO_LARGE"
            )
        return tuple(
            read(element, f"{self.path(name)}[{index}]") for index, element in enumerate(value)
        )

    def one(self, name: str, read: Callable[[Json, str], _T]) -> _T:
        """Return ``read(value, path)`` of the member."""
        return read(self._value[name], self.path(name))

    def one_or_none(self, name: str, read: Callable[[Json, str], _T]) -> _T | None:
        """Return ``read(value, path)``, or None where the member is ``null``."""
        return None if self._value[name] is None else self.one(name, read)


def as_integer(value: Json, where: str, *, at_least: int = 0) -> int:
    """Return ``value`` if it is an integer of ``at_least`` ≤ value ≤ 2^53-1.

    Raises:
        MalformedError: It is not (``MEMBER_TYPE``), or out of range
            (``MEMBER_RANGE``).
    """
    if type(value) is not int:
        raise MalformedError(f"{where}: an integer was expected", reason="MEMBER_TYPE")
    if not at_least <= value <= MAX_SAFE_INTEGER:
        raise MalformedError(f"{where}: an integer out of range", reason="MEMBER_RANGE")
    return value


def as_octets(value: Json, where: str, *, max_bytes: int, min_bytes: int = 1) -> bytes:
    """Return the bytes of a base64url string without padding.

    Raises:
        MalformedError: Not a string (``MEMBER_TYPE``), not canonical
            base64url, or of another size (``MEMBER_RANGE``).
    """
    if not isinstance(value, str):
        raise MalformedError(f"{where}: a base64url string was expected", reason="MEMBER_TYPE")
    data = b64url_decode(value, max_bytes=max_bytes)
    if len(data) < min_bytes:
        raise MalformedError(f"{where}: fewer than {min_bytes} bytes", reason="MEMBER_RANGE")
    return data


def as_text(pattern: re.Pattern[str]) -> Callable[[Json, str], str]:
    """Return a reader of strings that ``pattern`` matches as a whole."""

    def read(value: Json, where: str) -> str:
        if not isinstance(value, str):
            raise MalformedError(f"{where}: a string was expected", reason="MEMBER_TYPE")
        if pattern.fullmatch(value) is None:
            raise MalformedError(f"{where}: not of its form", reason="MEMBER_FORM")
        return value

    return read
