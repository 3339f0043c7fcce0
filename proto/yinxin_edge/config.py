"""Configuration: one frozen dataclass per service, from TOML and environment.

The dataclass is the schema: its fields are the keys, its annotations the types,
its defaults the defaults. Everything is read and checked at start, and every
fault is reported at once; an unknown key is refused with the nearest known one
named, since a misspelt setting that is ignored is a setting that is not set.

A variable ``PREFIX__SERVER__THREADS`` overrides ``threads`` of ``[server]``.
Durations are text with a unit: ``200ms``, ``5s``, ``15m``, ``12h``, ``30d``.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, cast

from yinxin_proto.error import ConfigurationError, Violation

T = TypeVar("T")

_Hint: TypeAlias = object
"""What an annotation evaluates to: a class, or one of typing's forms."""

_DURATION: Final = re.compile(r"(\d{1,9})(ms|s|m|h|d)\Z")
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_TRUTH: Final = {"true": True, "false": False}


class _Text(str):
    """A value from the environment: text, whatever its type should be."""

    __slots__ = ()


class _Problem(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


def load(
    kind: type[T],
    toml: str = "",
    *,
    environment: Mapping[str, str] | None = None,
    prefix: str = "YINXIN",
) -> T:
    """Read a configuration dataclass.

    Args:
        kind: A dataclass whose annotations are ``bool``, ``int``, ``float``,
            ``str``, ``Path``, ``timedelta``, an enum, ``Literal``, ``X | None``,
            ``tuple[X, ...]`` or a dataclass of such.
        toml: TOML text; its tables are the nested dataclasses.
        environment: Variables, of which those named ``{prefix}__…`` are read.
        prefix: See above.

    Raises:
        ConfigurationError: ``TOML``, not TOML; ``CONFIGURATION``, with a
            violation for each key that is unknown, missing, of a wrong type or
            refused by the dataclass itself. Values are not repeated.
    """
    try:
        table: dict[str, object] = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"the configuration is not TOML: {error}", reason="TOML"
        ) from error
    _overlay(table, environment or {}, prefix)
    violations: list[Violation] = []
    made = _read_table(kind, table, "", violations)
    if violations or made is None:
        raise ConfigurationError("the configuration cannot be used", violations=violations)
    return cast("T", made)


def load_file(
    kind: type[T],
    path: Path,
    *,
    environment: Mapping[str, str] | None = None,
    prefix: str = "YINXIN",
) -> T:
    """Read a configuration dataclass from a file; see `load`.

    Raises:
        ConfigurationError: ``CONFIGURATION_FILE``, it cannot be read; otherwise
            as `load`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"cannot read the configuration file {path}", reason="CONFIGURATION_FILE"
        ) from error
    return load(kind, text, environment=environment, prefix=prefix)


def _overlay(table: dict[str, object], environment: Mapping[str, str], prefix: str) -> None:
    for name in sorted(environment):
        head, *keys = name.split("__")
        if head != prefix or not keys:
            continue
        target = table
        for key in keys[:-1]:
            inner = target.setdefault(key.lower(), {})
            target[key.lower()] = inner = inner if isinstance(inner, dict) else {}
            target = inner
        target[keys[-1].lower()] = _Text(environment[name])


def _read_table(
    kind: type[Any], table: Mapping[str, object], path: str, violations: list[Violation]
) -> object | None:
    before = len(violations)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    hints = typing.get_type_hints(kind)
    violations.extend(
        _unknown(path + key, key, fields) for key in sorted(table.keys() - fields.keys())
    )
    values: dict[str, object] = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _read(hints[name], table[name], path + name, violations)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            violations.append(
                Violation(field=path + name, description="is required", reason="MISSING_KEY")
            )
    if len(violations) > before:
        return None
    try:
        return cast("object", kind(**values))
    except ConfigurationError as error:
        found = error.violations or (Violation("", error.message, error.reason),)
        violations.extend(
            Violation((path + item.field).rstrip("."), item.description, item.reason)
            for item in found
        )
        return None


def _read(hint: _Hint, value: object, path: str, violations: list[Violation]) -> object:
    try:
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise _Problem("must be a table")
            return _read_table(cast("type[Any]", hint), value, path + ".", violations)
        if typing.get_origin(hint) is tuple:
            item_hint = typing.get_args(hint)[0]
            return tuple(
                _read(item_hint, item, f"{path}[{index}]", violations)
                for index, item in enumerate(_items(value))
            )
        return _scalar(hint, value)
    except _Problem as problem:
        violations.append(Violation(path, problem.description, "WRONG_TYPE"))
        return None


def _items(value: object) -> list[object]:
    if isinstance(value, _Text):
        return [_Text(part.strip()) for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise _Problem("must be an array")
    return value


def _scalar(hint: _Hint, value: object) -> object:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return _scalar(kinds[0], value)
    if origin is typing.Literal:
        return _one_of(typing.get_args(hint), value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(_one_of([member.value for member in hint], value))
    if hint is timedelta:
        return _duration(value)
    if hint is Path:
        return Path(str(_plain(str, value)))
    return _plain(cast("type[Any]", hint), value)


def _plain(kind: type[Any], value: object) -> object:
    if isinstance(value, _Text) and kind is not str:
        value = _from_text(kind, value)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is str and isinstance(value, str):
        return str(value)
    if type(value) is not kind:
        raise _Problem(f"must be of type {kind.__name__}")
    return value


def _from_text(kind: type[Any], text: str) -> object:
    try:
        return _TRUTH[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        return None


def _one_of(choices: Iterable[object], value: object) -> object:
    for choice in choices:
        if value == choice and type(value) is not bool:
            return choice
    raise _Problem(f"must be one of {', '.join(str(choice) for choice in choices)}")


def _duration(value: object) -> timedelta:
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise _Problem("must be a duration such as 200ms, 5s, 15m, 12h or 30d")
    return int(match[1]) * _UNITS[match[2]]


def _unknown(path: str, key: str, known: Iterable[str]) -> Violation:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    advice = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
    return Violation(path, f"is not a setting{advice}", "UNKNOWN_KEY")
