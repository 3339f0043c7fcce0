"""The help is whole, in both languages, and speaks of what is there."""

from __future__ import annotations

import string
from collections.abc import Iterator

import pytest
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from yinxin.command.application import TEXTS, build, find_language, main
from yinxin.command.change import OPERATIONS
from yinxin_edge.terminal import Language, Texts
from yinxin_edge.terminal.help import Command, parameter_keys

OWN = Texts.load("yinxin.command")
COMMANDS = {
    "licence": {"issue", "get", "list", "events", *(o.value for o in OPERATIONS)},
    "verify": set[str](),
    "log": {"checkpoint", "prove"},
    "officer": {"key", "sign"},
    "renew": set[str](),
}


def walk(command: Command, path: str = "") -> Iterator[tuple[str, Command]]:
    yield path, command
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            assert isinstance(inner, TyperCommand | TyperGroup)
            yield from walk(inner, f"{path} {name}".strip())


def test_every_text_is_there_in_both_languages_with_the_same_fields() -> None:
    for key in OWN.keys:
        assert OWN.find(key, Language.ZH), key
        assert OWN.find(key, Language.EN), key
        assert OWN.fields(key, Language.ZH) == OWN.fields(key, Language.EN), key


def test_english_texts_are_english() -> None:
    allowed = set(string.printable) | set("…–")

    assert [k for k in OWN.keys if set(OWN.find(k, Language.EN) or "") - allowed] == []


def test_the_commands_are_those_that_were_promised() -> None:
    root = build(Language.ZH, {})

    assert {
        name: set(getattr(inner, "commands", {})) for name, inner in root.commands.items()
    } == COMMANDS


def test_every_command_and_option_has_help_in_the_catalogue() -> None:
    known = set(TEXTS.keys)
    missing = []
    for path, command in walk(build(Language.ZH, {})):
        missing += [] if f"help.{path or 'yinxin'}" in known else [path]
        for parameter in command.params:
            assert isinstance(parameter, TyperOption | TyperArgument)
            if not known & set(parameter_keys(parameter, path)):
                missing.append(f"{path} {parameter.name}")

    assert missing == []


def test_no_help_speaks_of_what_is_not_there() -> None:
    used = set()
    for path, command in walk(build(Language.ZH, {})):
        used.add(f"help.{path or 'yinxin'}")
        for parameter in command.params:
            assert isinstance(parameter, TyperOption | TyperArgument)
            used.update(parameter_keys(parameter, path))

    assert [key for key in OWN.keys if key.startswith("help.") and key not in used] == []


@pytest.mark.parametrize("language", list(Language))
def test_help_can_be_read(language: Language, capsys: pytest.CaptureFixture[str]) -> None:
    for path, _ in walk(build(language, {})):
        assert main([*path.split(), "--help", "--lang", language.value]) == 0
        printed = capsys.readouterr().out
        assert TEXTS.get("help.--help", language) in printed
        assert (TEXTS.get(f"help.{path or 'yinxin'}", language).split("\n")[0])[:20] in printed


@pytest.mark.parametrize(
    ("arguments", "variable", "language", "left"),
    [
        (["verify", "x"], "", Language.ZH, ["verify", "x"]),
        (["verify", "x"], "en", Language.EN, ["verify", "x"]),
        (["verify", "x"], "klingon", Language.ZH, ["verify", "x"]),
        (["--lang", "en", "verify"], "", Language.EN, ["verify"]),
        (["verify", "--lang=en", "x"], "zh", Language.EN, ["verify", "x"]),
        (["verify", "x", "--lang", "zh"], "en", Language.ZH, ["verify", "x"]),
        (["verify", "--lang", "fr"], "", Language.ZH, ["--lang", "fr", "verify"]),
        (["verify", "--lang"], "", Language.ZH, ["--lang", "verify"]),
        (["verify", "--", "--lang", "en"], "", Language.ZH, ["verify", "--", "--lang", "en"]),
    ],
)
def test_the_language_may_stand_anywhere(
    arguments: list[str], variable: str, language: Language, left: list[str]
) -> None:
    assert find_language(arguments, {"YINXIN_LANG": variable}) == (language, left)
