"""Commands of other roots, found through entry points and imported when they are used.

An entry point of the group ``yinxin.commands`` names a Typer application. Its
help texts lie in ``texts.toml`` of its package. One whose libraries are not
installed says what to install.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from typing import Final

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from yinxin_edge.terminal import Language, Texts, localise
from yinxin_edge.terminal.help import Command
from yinxin_proto.error import ConfigurationError, InternalError

GROUP: Final = "yinxin.commands"
DEFAULT_EXTRA: Final = "server"

_COMPLETION: Final = frozenset({"install_completion", "show_completion"})
"""Options that Typer adds to an application: of the whole program, not of a command."""
_ANYTHING: Final = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}


def find_plugins() -> Mapping[str, EntryPoint]:
    """Return the commands that are installed, by name; the first of a name counts."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, entry)
    return found


class Plugins:
    """The commands of other roots.

    Args:
        entries: By name; see `find_plugins`.
        texts: What their help falls back on.
        language: Of their help.
    """

    def __init__(
        self, entries: Mapping[str, EntryPoint], *, texts: Texts, language: Language
    ) -> None:
        self._entries = entries
        self._texts = texts
        self._language = language
        self._loaded: dict[str, Command] = {}

    @property
    def names(self) -> Iterable[str]:
        """Names of the commands."""
        return self._entries.keys()

    def load(self, name: str) -> Command | None:
        """Return a command, ready to run; None if there is none of that name."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        if name not in self._loaded:
            self._loaded[name] = self._load(entry)
        return self._loaded[name]

    def _load(self, entry: EntryPoint) -> Command:
        try:
            application = entry.load()
        except ImportError as error:
            return self._missing(entry, error)
        made = application
        if isinstance(application, typer.Typer):
            made = get_command(application)
        if not isinstance(made, TyperGroup | TyperCommand):
            raise InternalError(f"command {entry.name} is no application", reason="COMMAND")
        made.name = entry.name
        made.params = [parameter for parameter in made.params if parameter.name not in _COMPLETION]
        localise(made, self._texts | _texts_of(entry.module), self._language, entry.name)
        return made

    def _missing(self, entry: EntryPoint, error: ImportError) -> Command:
        extra = ",".join(entry.extras) or DEFAULT_EXTRA
        application = typer.Typer(add_completion=False)

        @application.command(context_settings=_ANYTHING)
        def missing() -> None:
            """Say what to install."""
            raise ConfigurationError(
                f"this command needs more: pip install 'yinxin[{extra}]'"
                f" ({error.name or 'a module'} is missing)",
                reason="MISSING_EXTRA",
            )

        made = get_command(application)
        if not isinstance(made, TyperCommand):
            raise InternalError("one command is no group", reason="COMMAND")
        made.name = entry.name
        made.help = escape(self._texts.get("plugin.missing", self._language, extra=extra))
        made.short_help = made.help
        made.rich_help_panel = self._texts.find("help.panel.commands", self._language)
        return made


def _texts_of(module: str) -> Texts:
    package = getattr(sys.modules.get(module), "__package__", None)
    if not package or not files(package).joinpath("texts.toml").is_file():
        return Texts({})
    return Texts.load(package)
