"""The root of the command line: version, plugins, and how it starts and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from rich.console import Console

import yinxin
from yinxin.command import main
from yinxin.command.application import TEXTS, build
from yinxin.command.plugin import GROUP, find_plugins
from yinxin_edge.terminal import Language, Terminal, run


def entry(name: str, value: str) -> dict[str, EntryPoint]:
    return {name: EntryPoint(name, value, GROUP)}


def terminal() -> Terminal:
    return Terminal(
        language=Language.ZH,
        texts=TEXTS,
        out=Console(markup=False),
        err=Console(markup=False, stderr=True),
    )


hello = typer.Typer(add_completion=False)


@hello.command()
def greet(context: typer.Context, name: str) -> None:
    """Greet."""
    shown: Terminal = context.obj
    shown.plain(f"hello {name}")


NOT_AN_APPLICATION = 3


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"yinxin {yinxin.__version__}\n"


def test_nothing_asked_for_shows_the_help_and_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 64
    assert "verify" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nothing"], ["--lang", "fr", "verify"], ["licence"]])
def test_what_is_not_a_command_is_wrong_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    assert "Traceback" not in capsys.readouterr().err


def test_a_command_of_another_root_runs_under_its_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type(sys)("plugin_under_test")
    module.app = hello  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "plugin_under_test", module)
    root = build(Language.ZH, entry("greet", "plugin_under_test:app"))

    assert run(root, ["greet", "甲"], terminal=terminal()) == 0
    assert capsys.readouterr().out == "hello 甲\n"


@pytest.mark.parametrize("value", ["no_such_module:app", "yinxin_trust.nowhere:app"])
def test_a_missing_extra_says_what_to_install(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = build(Language.ZH, entry("serve", value + " [server]"))

    for arguments in (["serve"], ["serve", "dir", "--anything", "x"], ["serve", "--help"]):
        assert run(root, arguments, terminal=terminal()) == 70
        printed = capsys.readouterr()
        assert "pip install 'yinxin[server]'" in printed.err
        assert "Traceback" not in printed.err
    assert run(root, ["--help"], terminal=terminal()) == 0
    assert "yinxin[server]" in capsys.readouterr().out


def test_an_entry_point_that_is_no_application_is_a_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type(sys)("odd_plugin")
    module.app = NOT_AN_APPLICATION  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "odd_plugin", module)
    root = build(Language.ZH, entry("odd", "odd_plugin:app"))

    assert run(root, ["odd"], terminal=terminal()) == 70
    assert "INTERNAL" in capsys.readouterr().err


def test_the_servers_commands_are_found_by_their_entry_points() -> None:
    assert {"region", "serve", "authority", "type", "pack", "doctor"} <= set(find_plugins())


def test_verifying_needs_none_of_the_servers_libraries(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from yinxin.command import main\n"
        "main(['verify', '--help'])\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "heavy = {'sqlalchemy', 'alembic', 'yinxin_trust', 'yinxin_ca', 'jsonschema_rs'}\n"
        "sys.exit(sorted(loaded & heavy) and str(loaded & heavy) or 0)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_a_console_of_another_encoding_is_no_reason_to_fail(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "YINXIN_LANG": "zh"}

    done = subprocess.run(
        [sys.executable, "-m", "yinxin.command", "verify"],
        capture_output=True,
        env=environment,
        check=False,
    )

    assert done.returncode == 64, done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_reason_to_fail() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "yinxin.command", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()

    assert b"Traceback" not in said
    assert b"Exception ignored" not in said
