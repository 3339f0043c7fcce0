"""The demo as somebody runs it, and what it leaves behind."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.served_region import run
from yinxin import Verifier
from yinxin.approval_csv import HOLDER_COLUMNS
from yinxin.demo.approvals import find_authorities, newest_day, read_file
from yinxin.proof import prove_licence

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "putian"


@pytest.fixture(scope="module")
def told(root: Path) -> subprocess.CompletedProcess[str]:
    """The demo in Chinese, in a folder that is kept."""
    done = run("demo", str(root), YINXIN_LANG="zh")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_it_tells_every_step(told: subprocess.CompletedProcess[str]) -> None:
    steps = [
        int(found[1]) for found in re.finditer(r"^(\d+)\. [^\t\n]*：", told.stdout, re.MULTILINE)
    ]
    assert steps == list(range(1, 14))
    assert "200 份，6 种证照，均附存证回执" in told.stdout
    assert told.stdout.count("200 份全部核验通过") == 4
    assert "Traceback" not in told.stdout + told.stderr


def test_each_bad_licence_fails_for_its_own_reason(
    told: subprocess.CompletedProcess[str],
) -> None:
    for case, code in (
        ("被篡改", "SIGNATURE"),
        ("已过期", "EXPIRED"),
        ("被暂扣", "SUSPENDED"),
        ("被吊销", "REVOKED"),
    ):
        assert re.search(rf"^{case}.*\t核验不通过（.*\t{code}$", told.stdout, re.MULTILINE)
    assert re.search(r"^状态取不到\t暂无法确认（.*\tSTATUS_UNAVAILABLE$", told.stdout, re.MULTILINE)


def test_it_ends_with_a_table_of_what_took_how_long(
    told: subprocess.CompletedProcess[str],
) -> None:
    lines = told.stdout.splitlines()
    table = lines[lines.index("步骤\t结果\t用时") + 1 :]
    assert len(table) == 14
    assert all(re.fullmatch(r"[\d.]+ m?s", line.split("\t")[-1]) for line in table)
    assert table[-1].startswith("合计")


def test_the_licences_that_it_leaves_verify_with_the_pack_that_it_leaves(
    told: subprocess.CompletedProcess[str], root: Path
) -> None:
    files = sorted((root / "licences").iterdir())
    assert len(files) == 200
    verifier = Verifier.open(
        root / "pack-2.zip", pin=root / "clients" / "authority-1" / "root.json"
    )
    codes = [report.code for report in verifier.verify_many(files)]
    assert sorted(code for code in codes if code is not None) == ["REVOKED", "SUSPENDED"]
    indexes = [prove_licence(file.read_bytes()).receipt.index for file in files]
    assert sorted(indexes) == list(range(200))


def test_the_region_that_it_leaves_is_sound(
    told: subprocess.CompletedProcess[str], root: Path
) -> None:
    words = ("--passphrase-file", str(root / "passphrase.txt"), "--json")
    done = run("doctor", str(root / "region"), *words)
    assert done.returncode == 0, done.stderr
    (data,) = (seen for seen in json.loads(done.stdout) if seen["topic"] == "data")
    assert data["values"]["licences"] == 201
    # Two changes of status, and blocks of the audit trail in the log of uses.
    assert data["values"]["entries"] > 203


def test_nothing_stored_or_published_names_a_holder(
    told: subprocess.CompletedProcess[str], root: Path
) -> None:
    with sqlite3.connect(root / "region" / "region.db") as database:
        assert database.execute("SELECT count(*) FROM licence").fetchone() == (201,)
    secrets = {
        part
        for row in csv.DictReader(io.StringIO(read_file().decode()))
        for column in (HOLDER_COLUMNS["name"], HOLDER_COLUMNS["number"])
        for part in row[column].split(";")
    }
    assert len(secrets) > 300
    for name, content in _everything(root):
        found = [secret for secret in secrets if secret.encode() in content]
        assert not found, f"{len(found)} holders are named in {name}"


def _everything(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every byte that the region keeps, publishes or says, licences left out."""
    for path in [*(root / "region").rglob("*"), root / "server.log"]:
        if path.is_file():
            yield str(path), path.read_bytes()
    for pack in root.glob("*.zip"):
        with zipfile.ZipFile(pack) as archive:
            for name in archive.namelist():
                yield name, archive.read(name)


def test_it_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    done = run("demo", str(tmp_path))
    assert done.returncode == 70
    assert "FOLDER_IN_USE" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_in_english_it_leaves_nothing(tmp_path: Path) -> None:
    done = run("demo", "--lang", "en", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Issue licences: 200 of 6 types, each with its receipt" in done.stdout
    assert "What was seen" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_example_names_its_authorities() -> None:
    data = read_file()
    assert len(find_authorities(data)) == 5
    assert newest_day(data).year == 2026


def test_the_example_of_the_readme_runs_on_what_it_leaves(
    told: subprocess.CompletedProcess[str], root: Path
) -> None:
    readme = Path(__file__).parents[2] / "README.md"
    example = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)[0]
    lines = [line for line in example.splitlines() if line]
    assert len(lines) == 5
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=root.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["核验通过 结婚证"] * 3
