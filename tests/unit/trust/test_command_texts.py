"""What the commands of a region's own machine say is there, in both languages."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

import yinxin_trust.command
from yinxin.demo.command import TEXTS as DEMO_TEXTS
from yinxin_edge.terminal import SHARED, Language, Texts
from yinxin_edge.terminal.help import parameter_keys
from yinxin_trust.command.speech import TEXTS

COMMANDS = {entry.name: entry.value for entry in entry_points(group="yinxin.commands")}
SOURCES = sorted(Path(yinxin_trust.command.__file__).parent.glob("*.py"))
_USED = re.compile(r"\b(?:text|line|note|ask_secret)\(\s*\"([a-z_.]+)\"")


def _texts_of(name: str) -> Texts:
    return SHARED | (DEMO_TEXTS if name == "demo" else TEXTS)


def _all(
    command: TyperGroup | TyperCommand, path: str
) -> list[tuple[TyperGroup | TyperCommand, str]]:
    found = [(command, path)]
    for name, inner in getattr(command, "commands", {}).items():
        found += _all(inner, f"{path} {name}")
    return found


def _load(name: str) -> TyperGroup | TyperCommand:
    module, _, attribute = COMMANDS[name].partition(":")
    made = get_command(getattr(import_module(module), attribute))
    assert isinstance(made, TyperGroup | TyperCommand)
    return made


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_its_help(name: str) -> None:
    texts = _texts_of(name)
    missing = []
    for command, path in _all(_load(name), name):
        missing += [] if f"help.{path}" in texts else [path]
        for parameter in command.params:
            assert isinstance(parameter, TyperOption | TyperArgument)
            own, shared = parameter_keys(parameter, path)
            if own not in texts and shared not in texts and parameter.name != "help":
                missing.append(own)
    assert missing == []


@pytest.mark.parametrize("texts", [TEXTS, DEMO_TEXTS], ids=["region", "demo"])
def test_both_languages_have_the_same_fields(texts: Texts) -> None:
    for key in texts.keys:
        assert texts.fields(key, Language.ZH) == texts.fields(key, Language.EN), key


def test_no_help_is_about_a_command_that_is_not() -> None:
    known = {path for name in COMMANDS for _, path in _all(_load(name), name)}
    about = {
        key.removeprefix("help.")
        for texts in (TEXTS, DEMO_TEXTS)
        for key in texts.keys
        if key.startswith("help.")
    }
    commands = {re.split(r" (?=--|[A-Z])", key)[0] for key in about if not key.startswith("--")}
    assert {path for path in commands if path.islower()} <= known


def test_every_text_that_is_said_is_there() -> None:
    said = {key for source in SOURCES for key in _USED.findall(source.read_text())}
    assert said
    assert [key for key in sorted(said) if key not in TEXTS] == []
