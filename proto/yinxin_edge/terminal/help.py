"""Help texts in the language asked for, from the catalogue.

A command's help is the text ``help."licence issue"``, an option's
``help."licence issue --out"`` or, shared by every command that has such an
option, ``help."--out"``; an argument goes by its name, ``help."verify FILE"``.
What the catalogue lacks keeps the words in the code.
"""

from __future__ import annotations

from typing import TypeAlias

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from yinxin_edge.terminal.text import Language, Texts

Command: TypeAlias = TyperGroup | TyperCommand
"""What ``typer.main.get_command`` makes, or a part of it."""
Parameter: TypeAlias = TyperArgument | TyperOption


def localise(command: Command, texts: Texts, language: Language, path: str = "") -> None:
    """Give a command, its options and its subcommands their help texts.

    Args:
        command: What gets them.
        texts: The catalogue.
        language: Of the help.
        path: Names of the commands above, ``licence issue``; empty at the root.
    """
    words = texts.find(f"help.{path or 'yinxin'}", language)
    if words is not None:
        command.help = words
        command.short_help = words.partition("\n")[0]
    command.rich_help_panel = texts.find("help.panel.commands", language)
    # The help option is made when first asked for, and kept from then on.
    for parameter in (*command.params, command.get_help_option(typer.Context(command))):
        if isinstance(parameter, Parameter):
            _localise_parameter(parameter, texts, language, path)
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            if isinstance(inner, Command):
                localise(inner, texts, language, f"{path} {name}".strip())


def parameter_keys(parameter: Parameter, path: str) -> tuple[str, str]:
    """Return the keys of a parameter's help: of this command's own, then the shared one."""
    is_option = isinstance(parameter, TyperOption)
    name = max(parameter.opts, key=len) if is_option else parameter.name.upper()
    return f"help.{path} {name}", f"help.{name}"


def _localise_parameter(parameter: Parameter, texts: Texts, language: Language, path: str) -> None:
    own, shared = parameter_keys(parameter, path)
    words = texts.find(own, language) or texts.find(shared, language)
    if words is not None:
        parameter.help = words
    if parameter.rich_help_panel is None:
        panel = "options" if isinstance(parameter, TyperOption) else "arguments"
        parameter.rich_help_panel = texts.find(f"help.panel.{panel}", language)
