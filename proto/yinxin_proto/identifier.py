"""Licence identifiers (证照标识), GB/T 36904-2018.

``1.2.156.3005.2.<type>.<issuer>.<serial>.<version>.<check>``

A change of the licence keeps ``type.issuer.serial``, the *body*, and raises
the version. Real identifiers name issuers by other codes than credit codes,
so parsing accepts those; making a new one does not. Some real ones carry a
check character that another algorithm made: parsing tells a mismatch from
every other fault, and can be asked to let it pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn

from yinxin_proto.checkdigit import IDENTIFIER_CHECKS, identifier_check, identifier_state
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.number import is_credit_code

PREFIX: Final = "1.2.156.3005.2."
"""The OID arc of licence identifiers."""
MAX_SERIAL_CHARACTERS: Final = 64
MAX_ISSUER_CHARACTERS: Final = 32
MAX_VERSION: Final = 999

_TYPE: Final = re.compile(r"[0-9A-Z]{21}")
_ISSUER: Final = re.compile(rf"[0-9A-Z]{{1,{MAX_ISSUER_CHARACTERS}}}")
_SERIAL: Final = re.compile(rf"[0-9A-Z]{{1,{MAX_SERIAL_CHARACTERS}}}")
_VERSION: Final = re.compile(r"[0-9]{3}")
_CHECK: Final = re.compile(r"[0-9A-Z]")
_MAX_CHARACTERS: Final = 192
_TAIL: Final = re.compile(
    rf"([0-9A-Z]{{1,{MAX_SERIAL_CHARACTERS}}})\.(?!000)([0-9]{{3}})\.([0-9A-Z])"
)


@dataclass(frozen=True, slots=True)
class LicenceIdentifier:
    """A parsed identifier; made by `parse`, `of_body` or `new`."""

    type: str
    """Licence type (证照类型代码), 21 characters."""
    issuer: str
    """Code of the issuing authority, as written."""
    serial: str
    """Serial (流水号), letters and digits."""
    version: int
    """Version, 1 to 999."""
    check: str
    """Check character, as written."""

    @property
    def body(self) -> str:
        """``type.issuer.serial``: what every version of one licence shares."""
        return f"{self.type}.{self.issuer}.{self.serial}"

    @property
    def computed_check(self) -> str:
        """The check character by ISO 7064 MOD 37,36."""
        return identifier_check(f"{self.type}{self.issuer}{self.serial}{self.version:03}")

    @property
    def check_matches(self) -> bool:
        """Whether the check character written is the one computed."""
        return self.check == self.computed_check

    def next_version(self) -> LicenceIdentifier:
        """Return the identifier of the next version of the same licence.

        Raises:
            InvalidArgumentError: The version is 999 already
                (``IDENTIFIER_VERSION``).
        """
        return of_body(self.body, self.version + 1)

    def __str__(self) -> str:
        return f"{PREFIX}{self.body}.{self.version:03}.{self.check}"


class IdentifierSeries:
    """The identifiers of one type and issuer: they are made and met by the thousand.

    What type and issuer contribute to the check character is computed once.

    Args:
        type: Licence type, 21 characters.
        issuer: Code of the issuing authority.

    Raises:
        InvalidArgumentError: A character that no identifier has.
    """

    __slots__ = ("_issuer", "_prefix", "_state", "_type")

    def __init__(self, *, type: str, issuer: str) -> None:  # noqa: A002
        self._type = type
        self._issuer = issuer
        self._prefix = f"{PREFIX}{type}.{issuer}."
        self._state = identifier_state(type + issuer)

    def holds(self, text: str) -> bool:
        """Whether ``text`` is one of them, check character included.

        Why not, `parse` says.
        """
        prefix = self._prefix
        if not text.startswith(prefix):
            return False
        match = _TAIL.fullmatch(text, len(prefix))
        if match is None:
            return False
        serial, version, check = match.groups()
        return IDENTIFIER_CHECKS[identifier_state(serial + version, self._state)] == check

    def identifier(self, serial: str, version: int) -> LicenceIdentifier:
        """Return the one of that serial and version.

        Raises:
            InvalidArgumentError: ``IDENTIFIER_SERIAL`` or ``IDENTIFIER_VERSION``.
        """
        _check_tail(serial, version)
        state = identifier_state(f"{serial}{version:03}", self._state)
        return LicenceIdentifier(
            self._type, self._issuer, serial, version, IDENTIFIER_CHECKS[state]
        )


def parse(text: str, *, allow_wrong_check: bool = False) -> LicenceIdentifier:
    """Parse a full identifier; ``str`` of the result is ``text`` again.

    Args:
        text: Upper case; a second spelling would be a second licence.
        allow_wrong_check: Return an identifier whose check character does not
            match; its ``check_matches`` says so.

    Raises:
        InvalidArgumentError: ``IDENTIFIER_FORMAT``, ``IDENTIFIER_TYPE``,
            ``IDENTIFIER_ISSUER``, ``IDENTIFIER_SERIAL``, ``IDENTIFIER_VERSION``
            or, for the check character alone, ``IDENTIFIER_CHECK``.
    """
    parts = text[len(PREFIX) :].split(".") if text.startswith(PREFIX) else []
    if len(parts) != 5 or len(text) > _MAX_CHARACTERS or _CHECK.fullmatch(parts[4]) is None:
        _refuse(
            "IDENTIFIER_FORMAT",
            f"a licence identifier is {PREFIX}type.issuer.serial.version.check in capitals",
        )
    if _VERSION.fullmatch(parts[3]) is None:
        _refuse("IDENTIFIER_VERSION", "a version has three digits")
    found = _build(parts[0], parts[1], parts[2], int(parts[3]), parts[4])
    if not allow_wrong_check and not found.check_matches:
        _refuse(
            "IDENTIFIER_CHECK",
            f"the check character of the identifier is {found.check}, "
            f"computed is {found.computed_check}",
        )
    return found


def of_body(body: str, version: int) -> LicenceIdentifier:
    """Return the identifier of one version of the licence that ``body`` names.

    Raises:
        InvalidArgumentError: As `parse`.
    """
    parts = body.split(".", 3)
    if len(parts) != 3 or len(body) > _MAX_CHARACTERS:
        _refuse("IDENTIFIER_FORMAT", "the body of an identifier is type.issuer.serial")
    return _build(parts[0], parts[1], parts[2], version)


def new(*, type: str, issuer: str, serial: str, version: int = 1) -> LicenceIdentifier:  # noqa: A002
    """Make the identifier of a licence about to be issued; stricter than `parse`.

    Args:
        type: 21 characters: the credit code of the body that defined the type
            and a sequence of three.
        issuer: Credit code of the issuing authority.
        serial: 1 to 64 letters and digits, random unless the type's rules say
            otherwise: never a subject's number, nor anything that holds one.
        version: 1 to 999.

    Raises:
        InvalidArgumentError: As `parse`; a type or issuer without a valid
            credit code too.
    """
    return _own_series(type, issuer).identifier(serial, version)


@lru_cache(maxsize=1024)
def _own_series(type_: str, issuer: str) -> IdentifierSeries:
    if not is_type(type_) or not is_credit_code(type_[:18]):
        _refuse("IDENTIFIER_TYPE", "a licence type is a valid credit code and a sequence of three")
    if not is_credit_code(issuer):
        _refuse("IDENTIFIER_ISSUER", "an issuer is named by a valid credit code")
    return IdentifierSeries(type=type_, issuer=issuer)


def is_type(text: str) -> bool:
    """Whether ``text`` has the form of a licence type: 21 digits and capitals."""
    return _TYPE.fullmatch(text) is not None


def _build(
    type_: str, issuer: str, serial: str, version: int, check: str | None = None
) -> LicenceIdentifier:
    if _TYPE.fullmatch(type_) is None:
        _refuse("IDENTIFIER_TYPE", "a licence type has 21 digits and capitals")
    if _ISSUER.fullmatch(issuer) is None:
        _refuse(
            "IDENTIFIER_ISSUER", f"an issuer is 1 to {MAX_ISSUER_CHARACTERS} digits and capitals"
        )
    _check_tail(serial, version)
    if check is None:
        check = identifier_check(f"{type_}{issuer}{serial}{version:03}")
    return LicenceIdentifier(type_, issuer, serial, version, check)


def _check_tail(serial: str, version: int) -> None:
    if _SERIAL.fullmatch(serial) is None:
        _refuse(
            "IDENTIFIER_SERIAL", f"a serial is 1 to {MAX_SERIAL_CHARACTERS} digits and capitals"
        )
    if not 1 <= version <= MAX_VERSION:
        _refuse("IDENTIFIER_VERSION", f"a version is 1 to {MAX_VERSION}")


def _refuse(reason: str, message: str) -> NoReturn:
    raise InvalidArgumentError(message, reason=reason)
