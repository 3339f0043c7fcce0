"""A request's members, read one by one with every fault noted at once.

Where `member` stops at the first fault of a signed document, a form goes on:
whoever typed a request wants to hear of all its faults together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Final, TypeVar
from unicodedata import category

from yinxin_proto.error import InvalidArgumentError, MalformedError, Violation
from yinxin_proto.strict import MAX_SAFE_INTEGER, Json, b64url_decode

_T = TypeVar("_T")

# Controls, and the marks that reorder or hide text on a screen: what is
# approved must be what was read. Unassigned and private characters are not
# among them: names are written with some that no table has yet.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_LINE_BLANKS: Final = frozenset("\t\n")


def _hides(text: str, allowed: frozenset[str]) -> bool:
    return any(
        category(character) in _HIDDEN and character not in allowed
        for character in text
        if not character.isprintable()
    )


class Form:
    """One JSON object, and the faults found in it so far.

    A reader that finds a fault notes it and returns None; `check` raises for
    all of them together.

    Args:
        members: The object.
        known: The names that it may have.
        path: Path of the object in its request, empty for the request itself.
        violations: Where faults are noted; shared with the form around it.
    """

    __slots__ = ("_members", "_path", "violations")

    def __init__(
        self,
        members: Mapping[str, Json],
        *,
        known: Collection[str],
        path: str = "",
        violations: list[Violation] | None = None,
    ) -> None:
        self._members = members
        self._path = path
        self.violations = [] if violations is None else violations
        if len(members) != len(known) or not all(map(members.__contains__, known)):
            self._refuse_names(known)

    def _refuse_names(self, known: Collection[str]) -> None:
        for name in known:
            if name not in self._members:
                self.refuse(name, "is missing", "FIELD_MISSING")
        if not self._members.keys() <= set(known):
            # The names are not repeated: a number may be among them.
            self.refuse("", f"has members other than {', '.join(known)}", "FIELD_UNKNOWN")

    def refuse(self, name: str, description: str, reason: str) -> None:
        """Note a fault of a member, or of the object itself where ``name`` is empty."""
        field = f"{self._path}.{name}" if self._path and name else self._path or name
        self.violations.append(Violation(field, description, reason))

    def check(self, what: str) -> None:
        """Raise for every fault noted.

        Raises:
            InvalidArgumentError: There is one; ``violations`` holds all.
        """
        if self.violations:
            raise InvalidArgumentError(
                f"{what}: unacceptable fields", reason="REQUEST", violations=self.violations
            )

    def value(self, name: str) -> Json:
        """Return a member as it is; None where it is absent."""
        return self._members.get(name)

    def constant(self, name: str, expected: Json) -> None:
        """Demand one value."""
        value = self._members.get(name, expected)
        if type(value) is not type(expected) or value != expected:
            self.refuse(name, f"{expected} is expected", "FIELD_VALUE")

    def text(self, name: str, *, max_characters: int, lines: bool = False) -> str | None:
        """Return a text that is not blank; with line breaks where ``lines``."""
        value = self._present(name, str, "a text")
        if value is None:
            return None
        if value.isprintable() and 0 < len(value) <= max_characters and not value.isspace():
            return value
        if not value.strip() or len(value) > max_characters:
            self.refuse(name, f"1 to {max_characters} characters are expected", "FIELD_LENGTH")
        elif _hides(value, _LINE_BLANKS if lines else frozenset()):
            self.refuse(name, "has control characters", "FIELD_CHARACTER")
        else:
            return value
        return None

    def integer(self, name: str, *, at_least: int) -> int | None:
        """Return an integer of ``at_least`` ≤ value ≤ 2^53-1."""
        value = self._present(name, int, "an integer")
        if value is not None and not at_least <= value <= MAX_SAFE_INTEGER:
            self.refuse(name, f"at least {at_least} is expected", "FIELD_RANGE")
            return None
        return value

    def day(self, name: str, *, optional: bool = False) -> date | None:
        """Return a date written YYYY-MM-DD; ``null`` is one where ``optional``."""
        if optional and name in self._members and self._members[name] is None:
            return None
        value = self._present(name, str, "a date")
        if value is None:
            return None
        try:
            found = date.fromisoformat(value)
        except ValueError:
            found = None
        if found is None or found.isoformat() != value:
            self.refuse(name, "a date YYYY-MM-DD is expected", "FIELD_DATE")
            return None
        return found

    def octets(self, name: str, *, size: int) -> bytes | None:
        """Return ``size`` bytes from canonical base64url."""
        value = self._present(name, str, "base64url")
        if value is None:
            return None
        try:
            data = b64url_decode(value, max_bytes=size)
        except MalformedError:
            data = b""
        if len(data) != size:
            self.refuse(name, f"base64url of {size} bytes is expected", "FIELD_VALUE")
            return None
        return data

    def parsed(self, name: str, parse: Callable[[str], _T]) -> _T | None:
        """Return ``parse(text)``, noting the fault that it raises."""
        value = self._present(name, str, "a text")
        if value is None:
            return None
        try:
            return parse(value)
        except (InvalidArgumentError, MalformedError) as error:
            self.refuse(name, error.message, error.reason)
            return None

    def object(self, name: str) -> dict[str, Json] | None:
        """Return an object."""
        return self._present(name, dict, "an object")

    def array(self, name: str, *, max_items: int) -> Sequence[Json] | None:
        """Return an array of 1 to ``max_items`` elements."""
        value = self._present(name, list, "an array")
        if value is not None and not 1 <= len(value) <= max_items:
            self.refuse(name, f"1 to {max_items} elements are expected", "FIELD_COUNT")
            return None
        return value

    def _present(self, name: str, kind: type[_T], description: str) -> _T | None:
        value = self._members.get(name)
        if type(value) is kind:
            return value
        if name in self._members:
            self.refuse(name, f"{description} is expected", "FIELD_TYPE")
        return None
