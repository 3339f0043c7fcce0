"""The root of the command line: language, version, commands of this root and of others."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from os import environ
from typing import Annotated, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from yinxin import __version__
from yinxin.command import change, holding, issue, log, officer, renew, verify
from yinxin.command.plugin import Plugins, find_plugins
from yinxin_edge.terminal import SHARED, ExitStatus, Language, Terminal, Texts, localise, run
from yinxin_edge.terminal.help import Command
from yinxin_proto.error import InternalError

LANGUAGE_VARIABLE: Final = "YINXIN_LANG"
TEXTS: Final = SHARED | Texts.load("yinxin.command")

_LANGUAGE_OPTION: Final = "--lang"
_ORDER: Final = (
    "demo",
    "region",
    "serve",
    "authority",
    "type",
    "licence",
    "verify",
    "pack",
    "log",
    "renew",
    "doctor",
)


class RootGroup(TyperGroup):
    """The commands of this root, and those of others when they are asked for."""

    plugins = Plugins({}, texts=TEXTS, language=Language.ZH)

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Return all names, in the order in which one comes to need them."""
        names = {*self.commands, *self.plugins.names}
        known = [name for name in _ORDER if name in names]
        return [*known, *sorted(names.difference(known))]

    def get_command(
        self,
        ctx: object,  # noqa: ARG002 - Typer's signature
        cmd_name: str,
    ) -> Command | None:
        """Return a command, importing it if it is another root's."""
        own = self.commands.get(cmd_name)
        if isinstance(own, TyperCommand | TyperGroup):
            return own
        return self.plugins.load(cmd_name)


def _application() -> typer.Typer:
    application = typer.Typer(cls=RootGroup, add_completion=False, no_args_is_help=True)
    application.callback()(_root)
    licence = typer.Typer(no_args_is_help=True)
    issue.register(licence)
    holding.register(licence)
    change.register(licence)
    application.add_typer(licence, name="licence")
    verify.register(application)
    renew.register(application)
    logs = typer.Typer(no_args_is_help=True)
    log.register(logs)
    application.add_typer(logs, name="log")
    officers = typer.Typer(no_args_is_help=True)
    officer.register(officers)
    application.add_typer(officers, name="officer")
    return application


def _root(
    _language: Annotated[
        Language, typer.Option(_LANGUAGE_OPTION, envvar=LANGUAGE_VARIABLE)
    ] = Language.ZH,
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version)] = False,
) -> None:
    """Issue, read and verify electronic licences."""


def _version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        terminal: Terminal = context.obj
        terminal.plain(f"yinxin {__version__}")
        raise typer.Exit


def build(language: Language, plugins: Mapping[str, EntryPoint] | None = None) -> RootGroup:
    """Return the whole command line, its help in one language.

    Args:
        language: Of the help.
        plugins: Commands of other roots; those installed when omitted.
    """
    root = get_command(_application())
    if not isinstance(root, RootGroup):
        raise InternalError("the root is no group", reason="COMMAND")
    entries = find_plugins() if plugins is None else plugins
    root.plugins = Plugins(entries, texts=TEXTS, language=language)
    localise(root, TEXTS, language)
    return root


def find_language(
    arguments: Sequence[str], variables: Mapping[str, str]
) -> tuple[Language, list[str]]:
    """Return the language asked for, and the arguments without a word about it.

    ``--lang en`` is understood wherever it stands before ``--``. A language
    that is none stays where it is, for the root to refuse.
    """
    asked = variables.get(LANGUAGE_VARIABLE, "")
    left: list[str] = []
    place = 0
    while place < len(arguments) and arguments[place] != "--":
        word, inline, value = arguments[place].partition("=")
        taken = 1
        if word == _LANGUAGE_OPTION and not inline and place + 1 < len(arguments):
            value, taken = arguments[place + 1], 2
        if word == _LANGUAGE_OPTION and value in set(Language):
            asked = value
        elif word == _LANGUAGE_OPTION:
            left = [*arguments[place : place + taken], *left]
        else:
            left.append(arguments[place])
            taken = 1
        place += taken
    language = Language(asked) if asked in set(Language) else Language.ZH
    return language, [*left, *arguments[place:]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    language, left = find_language(sys.argv[1:] if arguments is None else arguments, environ)
    terminal = Terminal.system(language, TEXTS)
    root = build(language)
    if not left:
        return run(root, ["--help"], terminal=terminal) or int(ExitStatus.USAGE)
    return run(root, left, terminal=terminal)
