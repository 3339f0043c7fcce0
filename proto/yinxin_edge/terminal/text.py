"""Texts that people read, as data: one TOML file beside the code that shows them.

::

    [verify.saved]
    zh = "已保存到 {path}"
    en = "saved to {path}"

A key is the path of its table, ``verify.saved``. Every text is there in every
language, with the same fields in braces; a test holds each catalogue to that.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from importlib.resources import files
from string import Formatter
from typing import Final

from yinxin_proto.error import InternalError


class Language(StrEnum):
    """A language that the command line speaks."""

    ZH = "zh"
    EN = "en"


class Texts:
    """A catalogue of texts.

    Args:
        entries: Texts by key, each in every language.
    """

    def __init__(self, entries: Mapping[str, Mapping[Language, str]]) -> None:
        self._entries = dict(entries)

    @classmethod
    def load(cls, package: str, name: str = "texts.toml") -> Texts:
        """Read the catalogue that lies in a package.

        Raises:
            InternalError: An entry lacks a language (``TEXTS``).
        """
        return cls.parse(files(package).joinpath(name).read_text(encoding="utf-8"))

    @classmethod
    def parse(cls, toml: str) -> Texts:
        """Read a catalogue's text; see this module.

        Raises:
            InternalError: An entry lacks a language, or has another (``TEXTS``).
        """
        return cls(dict(_entries(tomllib.loads(toml), "")))

    def __or__(self, other: Texts) -> Texts:
        """Return both catalogues as one; the right one wins."""
        return Texts({**self._entries, **other._entries})

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys, in the order of the file."""
        return tuple(self._entries)

    def find(self, key: str, language: Language) -> str | None:
        """Return a text as it was written; None if there is none."""
        entry = self._entries.get(key)
        return None if entry is None else entry[language]

    def get(self, key: str, language: Language, **values: object) -> str:
        """Return a text with its fields filled in.

        Raises:
            InternalError: No such text (``TEXTS``).
        """
        text = self.find(key, language)
        if text is None:
            raise InternalError(f"there is no text {key}", reason="TEXTS")
        return text.format(**values) if values else text

    def fields(self, key: str, language: Language) -> frozenset[str]:
        """Return the names in braces of a text."""
        text = self._entries[key][language]
        return frozenset(name for _, name, _, _ in Formatter().parse(text) if name)


def _entries(
    table: Mapping[str, object], path: str
) -> Iterator[tuple[str, Mapping[Language, str]]]:
    if any(isinstance(value, str) for value in table.values()):
        languages = {str(language) for language in Language}
        if table.keys() != languages:
            raise InternalError(f"text {path} is not in zh and en", reason="TEXTS")
        yield path, {language: str(table[language]) for language in Language}
        return
    for name, inner in table.items():
        if isinstance(inner, Mapping):
            yield from _entries(inner, f"{path}.{name}" if path else name)


SHARED: Final = Texts.load("yinxin_edge.terminal")
"""What every command line says: errors, advice, the names of fields' faults."""
