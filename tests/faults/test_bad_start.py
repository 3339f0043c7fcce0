"""The command line given what it cannot use: one clear message, a status, never a traceback."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from support.served_region import PASSPHRASE, ServedRegion, run
from yinxin_trust.region import Region

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> ServedRegion:
    return ServedRegion.found(tmp_path_factory.mktemp("bad-start"), workers=1)


@pytest.fixture(scope="module")
def pack(region: ServedRegion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pack") / "pack.zip"
    assert run("pack", "export", str(region.directory), str(made)).returncode == 0
    return made


@pytest.fixture
def copy(region: ServedRegion, tmp_path: Path) -> Path:
    """A copy of the region's directory, to be spoilt."""
    with region.open() as opened:
        opened.storage.database.checkpoint()
    target = tmp_path / "copy"
    shutil.copytree(region.directory, target, ignore=shutil.ignore_patterns("run"))
    return target


def _refused(
    done: subprocess.CompletedProcess[str], reason: str, status: int, *, silent: bool = True
) -> str:
    """The command said why, once, in words, and nothing else."""
    assert done.returncode == status, done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert PASSPHRASE not in done.stderr + done.stdout
    if silent:
        assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("command", ["serve", "doctor", "pack export", "type list"])
def test_a_directory_that_is_no_region(command: str, tmp_path: Path) -> None:
    more = [str(tmp_path / "p.zip")] if command == "pack export" else []
    done = run(*command.split(), str(tmp_path / "nowhere"), *more)
    _refused(done, "NOT_A_REGION", 70)


@pytest.mark.parametrize("command", ["serve", "doctor", "type list"])
def test_a_wrong_passphrase(command: str, region: ServedRegion) -> None:
    done = run(*command.split(), str(region.directory), YINXIN_PASSPHRASE="not the passphrase")
    said = _refused(done, "WRONG_PASSPHRASE", 77)
    assert "not the passphrase" not in said


def test_a_wrong_offline_passphrase_enrols_nobody(region: ServedRegion) -> None:
    words = ["--code", "11350302MBYY00011H", "--name", "示例局", "--type", "营业执照"]
    done = run(
        "authority",
        "add",
        str(region.directory),
        *words,
        YINXIN_OFFLINE_PASSPHRASE="not the passphrase",
    )
    _refused(done, "WRONG_PASSPHRASE", 77)
    assert not (region.directory / "clients").exists()


def test_nobody_to_ask_for_the_passphrase(region: ServedRegion) -> None:
    done = run("serve", str(region.directory), YINXIN_PASSPHRASE="")
    _refused(done, "PASSPHRASE_MISSING", 70)


def test_a_passphrase_file_that_is_not_there(region: ServedRegion, tmp_path: Path) -> None:
    done = run("doctor", str(region.directory), "--passphrase-file", str(tmp_path / "none"))
    _refused(done, "PASSPHRASE_FILE", 70)


@pytest.mark.parametrize("content", [b"", b"two\nlines\n", b"\xff\xfe", b"x" * 5000])
def test_a_passphrase_file_that_is_none(
    content: bytes, region: ServedRegion, tmp_path: Path
) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(content)
    done = run("doctor", str(region.directory), "--passphrase-file", str(file))
    _refused(done, "PASSPHRASE_FILE", 70)


def test_a_port_that_another_program_has(region: ServedRegion) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", str(region.directory), "--listen", address)
    assert address in _refused(done, "PORT_TAKEN", 69)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x"])
def test_an_address_that_is_none(address: str, region: ServedRegion) -> None:
    _refused(run("serve", str(region.directory), "--listen", address), "ADDRESS", 70)


def test_an_address_of_another_machine(region: ServedRegion) -> None:
    done = run("serve", str(region.directory), "--listen", "203.0.113.7:8443")
    assert done.returncode in (69, 70)
    assert "Traceback" not in done.stderr


def test_settings_that_cannot_be_used_are_all_named(copy: Path) -> None:
    settings = copy / "region.toml"
    text = settings.read_text().replace("workers = 1", 'worker = 1\nthreads = "many"')
    settings.write_text(text)
    said = _refused(run("serve", str(copy)), "CONFIGURATION", 70)
    assert "server.worker" in said
    assert "server.threads" in said
    assert "workers" in said


def test_settings_that_are_no_toml(copy: Path) -> None:
    (copy / "region.toml").write_text("[region\n")
    _refused(run("doctor", str(copy)), "TOML", 70)


@pytest.mark.parametrize(
    ("url", "reason", "status"),
    [
        ("mysql://somebody@somewhere/db", "DATABASE_URL", 70),
        ("nonsense", "DATABASE_URL", 70),
        ("sqlite://", "DATABASE_URL", 70),
        ("sqlite:////no/such/folder/region.db", "DATABASE_UNOPENABLE", 70),
        ("postgresql://nobody:a-secret@127.0.0.1:1/none", "DATABASE_UNREACHABLE", 69),
    ],
)
def test_a_database_that_cannot_be_had(url: str, reason: str, status: int, copy: Path) -> None:
    said = _refused(run("serve", str(copy), "--database", url), reason, status)
    assert "a-secret" not in said
    # Nothing was moved.
    with Region.open(copy, passphrase=PASSPHRASE):
        pass


def test_a_database_that_was_taken_away(copy: Path) -> None:
    for path in copy.glob("region.db*"):
        path.unlink()
    _refused(run("serve", str(copy)), "DATABASE_EMPTY", 70)


def test_a_database_that_is_damaged(copy: Path) -> None:
    (copy / "region.db").write_bytes(b"this was a database" * 1000)
    for path in copy.glob("region.db-*"):
        path.unlink()
    _refused(run("serve", str(copy)), "DATABASE_CORRUPT", 70)


def test_a_database_of_another_version_of_the_code(copy: Path) -> None:
    with closing(sqlite3.connect(copy / "region.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v0001'")
    _refused(run("serve", str(copy), "--listen", "127.0.0.1:0"), "SCHEMA_VERSION", 70)


def test_a_key_that_was_altered(copy: Path) -> None:
    key = next((copy / "keys").glob("*tls-server*.key"))
    key.write_bytes(key.read_bytes()[:-20])
    _refused(run("serve", str(copy), "--listen", "127.0.0.1:0"), "KEY", 70)


def test_a_region_founded_where_something_is(region: ServedRegion, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    words = ["--code", "350300", "--domain", "putian.example", "--name", "莆田市"]
    _refused(run("region", "init", str(tmp_path), *words), "DIRECTORY_IN_USE", 70)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    before = sorted(region.directory.rglob("*"))
    _refused(run("region", "init", str(region.directory), *words), "DIRECTORY_IN_USE", 70)
    assert sorted(region.directory.rglob("*")) == before


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("letter.txt", "DIRECTORY"),
        ("letter.txt/region", "DIRECTORY"),
        ("x" * 300, "DIRECTORY"),
        ("/", "DIRECTORY_IN_USE"),
        (".", "DIRECTORY_IN_USE"),
        ("absent/..", "DIRECTORY_IN_USE"),
    ],
)
def test_a_region_founded_where_none_can_be(
    place: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "letter.txt").write_text("mine")
    monkeypatch.chdir(empty)
    words = ["--code", "350300", "--domain", "putian.example", "--name", "莆田市"]
    directory = f"../{place}" if place.startswith(("letter", "x")) else place
    _refused(run("region", "init", directory, *words), reason, 70)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "letter.txt"]


def test_a_region_of_unacceptable_names_is_not_founded(tmp_path: Path) -> None:
    words = ["--code", "1234", "--domain", "Putian", "--name", "", "--suite", "X", "--host", "A_"]
    words += ["--listen", "8443"]
    said = _refused(run("region", "init", str(tmp_path / "new"), *words), "SETTINGS", 65)
    for field in ("code", "domain", "name", "suite", "host", "listen"):
        assert field in said
    assert not (tmp_path / "new").exists()


def test_a_short_passphrase_founds_nothing(tmp_path: Path) -> None:
    words = ["--code", "350300", "--domain", "putian.example", "--name", "莆田市"]
    done = run("region", "init", str(tmp_path / "new"), *words, YINXIN_PASSPHRASE="short")
    _refused(done, "PASSPHRASE_SHORT", 65)
    assert not (tmp_path / "new").exists()


def test_a_founding_whose_database_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    words = ["--code", "350300", "--domain", "putian.example", "--name", "莆田市"]
    words += ["--database", "postgresql://nobody@127.0.0.1:1/none"]
    _refused(run("region", "init", str(tmp_path / "new"), *words), "DATABASE_UNREACHABLE", 69)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_pack(share: float, pack: Path, tmp_path: Path) -> None:
    whole = pack.read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole[: int(len(whole) * share)])
    done = run("verify", "-", "--pack", str(cut), "--state", str(tmp_path / "state.json"))
    _refused(done, "PACK", 65)


def test_a_pack_that_lacks_a_file(region: ServedRegion, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    assert run("pack", "export", str(region.directory), str(folder)).returncode == 0
    next((folder / "targets").rglob("*.jwt")).unlink()
    done = run("verify", "-", "--pack", str(folder), "--state", str(tmp_path / "state.json"))
    assert done.returncode == 65
    assert "Traceback" not in done.stderr


def test_a_licence_that_is_none_is_a_verdict(pack: Path, tmp_path: Path) -> None:
    done = run("verify", "-", "--pack", str(pack), "--state", str(tmp_path / "state.json"))
    assert done.returncode == 1
    assert "FORMAT" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there(region: ServedRegion, tmp_path: Path) -> None:
    licence = tmp_path / "a.licence.json"
    licence.write_text("{}")
    done = run(
        "verify",
        str(licence),
        *("--server", "127.0.0.1:1", "--credentials", str(region.credentials), "--purpose", "核验"),
    )
    _refused(done, "UNAVAILABLE", 69)


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["serve"],
        ["region", "init"],
        ["serve", ".", "--workers", "0"],
        ["serve", ".", "--no-such-option"],
        ["principal", "add", ".", "--id", "x", "--role", "emperor"],
    ],
)
def test_words_that_are_not_understood(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 64
    assert "Traceback" not in done.stderr


def test_a_database_that_another_program_holds(copy: Path) -> None:
    with sqlite3.connect(copy / "region.db", isolation_level=None) as foreign:
        foreign.execute("BEGIN EXCLUSIVE")
        done = run("type", "add", str(copy), str(_next_version(copy)))
        foreign.execute("ROLLBACK")
    foreign.close()
    _refused(done, "DATABASE_LOCKED", 69)


def _next_version(copy: Path) -> Path:
    """A catalogue document that would be accepted."""
    shown = run("type", "show", str(copy), "营业执照", "--json")
    assert shown.returncode == 0, shown.stderr
    file = copy.parent / "next.json"
    text = shown.stdout.replace('"schema_version": 1', '"schema_version": 2')
    file.write_text(text.replace(':1"', ':2"'))
    return file
