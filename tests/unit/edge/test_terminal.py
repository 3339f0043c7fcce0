"""What every command line shows, to a person and to a pipe, in both languages."""

from __future__ import annotations

import io
import string
from collections.abc import Callable
from typing import Annotated

import pytest
import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from yinxin_edge.terminal import (
    EXIT_STATUSES,
    SHARED,
    ExitStatus,
    Language,
    Terminal,
    Texts,
    exit_status,
    localise,
    run,
    show_error,
)
from yinxin_edge.terminal.help import Command
from yinxin_proto import error as tree
from yinxin_proto.error import InternalError, InvalidArgumentError, Violation, YinxinError


class Screen:
    """A terminal whose two streams can be read back."""

    def __init__(
        self, *, person: bool = False, width: int = 80, language: Language = Language.ZH
    ) -> None:
        self._out, self._err = io.StringIO(), io.StringIO()
        self.terminal = Terminal(
            language=language,
            texts=SHARED | Texts({"greet": {Language.ZH: "你好 {name}", Language.EN: "hi {name}"}}),
            out=self._console(self._out, person, width),
            err=self._console(self._err, person, width),
        )

    @staticmethod
    def _console(file: io.StringIO, person: bool, width: int) -> Console:
        return Console(
            file=file,
            force_terminal=person,
            width=width,
            markup=False,
            highlight=False,
            color_system=None,
        )

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def err(self) -> str:
        return self._err.getvalue()


def classes() -> list[type[YinxinError]]:
    found = [value for value in vars(tree).values() if isinstance(value, type)]
    return [kind for kind in found if issubclass(kind, YinxinError)]


# --- texts --------------------------------------------------------------------------------


def test_every_text_is_there_in_both_languages_with_the_same_fields() -> None:
    for key in SHARED.keys:
        chinese, english = (SHARED.find(key, language) for language in (Language.ZH, Language.EN))
        assert chinese, key
        assert english, key
        assert SHARED.fields(key, Language.ZH) == SHARED.fields(key, Language.EN), key


def test_every_class_of_error_has_a_name_for_people() -> None:
    assert {f"error.{kind.code}" for kind in classes()} <= set(SHARED.keys)


def test_a_text_that_lacks_a_language_is_noticed() -> None:
    with pytest.raises(InternalError):
        Texts.parse('[a]\nzh = "甲"\n')
    with pytest.raises(InternalError):
        Texts.parse('[a]\nzh = "甲"\nen = "a"\nfr = "a"\n')
    with pytest.raises(InternalError):
        SHARED.get("no.such.text", Language.ZH)


def test_english_texts_are_english() -> None:
    allowed = set(string.printable) | set("…–")
    odd = [k for k in SHARED.keys if set(SHARED.find(k, Language.EN) or "") - allowed]

    assert odd == []


# --- printing -------------------------------------------------------------------------------


def test_a_pipe_gets_lines_and_no_boxes() -> None:
    screen = Screen()
    screen.terminal.table(["甲", "乙"], [["1", "长" * 200], ["a\tb", "c\nd"]])
    screen.terminal.record("标题", [("名", "值")])
    screen.terminal.line("greet", name="甲")

    assert screen.out == "甲\t乙\n1\t" + "长" * 200 + "\na b\tc d\n标题\n名: 值\n你好 甲\n"


def test_a_person_gets_boxes_that_fit_the_screen() -> None:
    for width in (30, 60, 200):
        screen = Screen(person=True, width=width)
        screen.terminal.record("标题", [("名称", "很长的内容" * 30)])
        screen.terminal.table(["甲"], [["很长的内容" * 30]])
        console = Console(width=500)
        lines = screen.out.splitlines()
        assert max(console.measure(line).maximum for line in lines if line) <= width
        assert "╭" in screen.out


def test_nothing_printed_can_steer_the_terminal() -> None:
    hostile = "a\x1b[2Jb\u202ec\x07\u2066d\x9b1me[red]f[/red]"
    for person in (False, True):
        screen = Screen(person=person)
        screen.terminal.plain(hostile)
        screen.terminal.table(["x"], [[hostile]])
        screen.terminal.record("t", [("n", hostile)])
        screen.terminal.line("greet", name=hostile)
        show_error(
            screen.terminal,
            InvalidArgumentError(hostile, violations=[Violation(hostile, hostile, hostile)]),
        )
        printed = screen.out + screen.err
        assert not set(printed) & set("\x1b\u202e\x07\u2066\x9b")
        assert "[red]f[/red]" in printed


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", classes())
def test_every_class_of_error_has_an_exit_status(kind: type[YinxinError]) -> None:
    assert exit_status(kind("x")) in set(ExitStatus) - {
        ExitStatus.PASSED,
        ExitStatus.FAILED,
        ExitStatus.INDETERMINATE,
        ExitStatus.USAGE,
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (tree.MalformedError("x"), 65),
        (tree.InvalidArgumentError("x"), 65),
        (tree.VerificationError("x"), 65),
        (tree.UnavailableError("x"), 69),
        (tree.DeadlineExceededError("x"), 69),
        (tree.PermissionDeniedError("x"), 77),
        (tree.UnauthenticatedError("x"), 77),
        (tree.WrongPassphraseError("x"), 77),
        (tree.ConfigurationError("x"), 70),
        (tree.KeyStoreError("x"), 70),
    ],
)
def test_exit_statuses_are_those_that_were_promised(error: YinxinError, status: int) -> None:
    assert exit_status(error) == status
    assert YinxinError in EXIT_STATUSES


def test_an_error_says_what_why_and_every_field_at_once() -> None:
    error = InvalidArgumentError(
        "issue request: unacceptable fields",
        reason="REQUEST",
        violations=[
            Violation("holders[0].number", "the last character does not check", "NUMBER_CHECKSUM"),
            Violation("number", "1 to 60 characters are expected", "FIELD_LENGTH"),
            Violation("fields.KZ_X", "breaks a rule that is new", "NEW_RULE"),
        ],
    )
    chinese, english = Screen(), Screen(language=Language.EN)
    show_error(chinese.terminal, error)
    show_error(english.terminal, error)

    for expected in (
        "所填内容不符合要求",
        "INVALID_ARGUMENT / REQUEST",
        "逐项更正",
        "号码校验位不正确",
        "长度不符：1 to 60 characters are expected",
        "breaks a rule that is new",
    ):
        assert expected in chinese.err
    assert "the last character does not check" in english.err
    assert "correct each field" in english.err
    assert chinese.out == english.out == ""


def test_advice_follows_the_narrowest_reason() -> None:
    screen = Screen()
    show_error(screen.terminal, tree.ConfigurationError("x", reason="PORT_TAKEN"))

    assert "换一个端口" in screen.err


def test_a_flood_of_violations_is_bounded() -> None:
    screen = Screen()
    violations = [Violation(f"rows[{n}]", "bad", "R") for n in range(5000)]
    show_error(screen.terminal, InvalidArgumentError("x", violations=violations))

    assert len(screen.err.splitlines()) < 250
    assert "另有 4800 项未列出" in screen.err


# --- running --------------------------------------------------------------------------------


def program(action: Callable[[], None]) -> Command:
    application = typer.Typer(add_completion=False)

    @application.command()
    def act(number: Annotated[int, typer.Argument()] = 0) -> None:
        """Act."""
        action()

    made = get_command(application)
    assert isinstance(made, TyperCommand)
    return made


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (tree.PermissionDeniedError("no"), 77, "PERMISSION_DENIED"),
        (KeyboardInterrupt(), 130, "已中断"),
        (EOFError(), 130, "已中断"),
        (typer.Exit(2), 2, ""),
        (ValueError("350302188503150016"), 70, "ValueError"),
    ],
)
def test_however_a_command_ends_there_is_no_traceback(
    error: BaseException, status: int, said: str
) -> None:
    screen = Screen()

    assert run(program(raising(error)), [], terminal=screen.terminal) == status

    assert said in screen.err
    assert "Traceback" not in screen.err
    assert "350302188503150016" not in screen.err


def test_the_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YINXIN_DEBUG", "1")
    screen = Screen()

    run(program(raising(ValueError("where"))), [], terminal=screen.terminal)

    assert "Traceback" in screen.err


def test_a_command_that_ends_well_exits_zero() -> None:
    screen = Screen()

    assert run(program(lambda: None), ["3"], terminal=screen.terminal) == 0
    assert screen.out == screen.err == ""


@pytest.mark.parametrize(
    ("arguments", "language", "said"),
    [
        (["--nothing"], Language.ZH, "没有这个选项"),
        (["x"], Language.ZH, "值不正确"),
        (["1", "2"], Language.ZH, "命令不完整"),
        (["--nothing"], Language.EN, "No such option"),
    ],
)
def test_wrong_usage_is_sixty_four(arguments: list[str], language: Language, said: str) -> None:
    screen = Screen(language=language)

    assert run(program(lambda: None), arguments, terminal=screen.terminal, program="prog") == 64
    assert said in screen.err
    assert "prog --help" in screen.err


# --- help -----------------------------------------------------------------------------------


def test_help_is_in_the_language_asked_for() -> None:
    application = typer.Typer(add_completion=False)

    @application.callback()
    def root() -> None:
        """In the code."""

    @application.command("do")
    def do(
        file: Annotated[str, typer.Argument(metavar="FILE")],
        out: Annotated[str, typer.Option("--out")] = "",
        other: Annotated[str, typer.Option("--other", help="kept")] = "",
    ) -> None:
        """In the code."""

    made = get_command(application)
    assert isinstance(made, TyperGroup)
    texts = SHARED | Texts(
        {
            key: {Language.ZH: f"中 {key}", Language.EN: f"en {key}"}
            for key in ("help.do", "help.do FILE", "help.--out")
        }
    )
    localise(made, texts, Language.ZH)

    command = made.commands["do"]
    assert command.help == "中 help.do"
    helped = {parameter.name: getattr(parameter, "help", None) for parameter in command.params}
    assert helped == {"file": "中 help.do FILE", "out": "中 help.--out", "other": "kept"}
