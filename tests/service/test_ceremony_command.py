"""Ceremonies at the command line: dealt, opened for a command, refused and audited."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from support.served_region import PASSPHRASE, call
from yinxin_ca.ceremonyrecord import CeremonyRecord
from yinxin_ca.share import SUFFIX, Share
from yinxin_edge.clock import SystemClock
from yinxin_trust import schema
from yinxin_trust.region import Region

MARKET = "11350302MBYY00011H"
"""Credit code of an invented authority."""
FOUNDING = ("--code", "350300", "--domain", "putian.example", "--name", "莆田市（示例）")
ADDED = ("--code", MARKET, "--name", "示例局", "--type", "营业执照")
PEOPLE = {"jia": "保管人甲（示例）", "yi": "保管人乙（示例）", "bing": "保管人丙（示例）"}


def script(root: Path, name: str, operation: str, people: str, *more: str) -> Path:
    lines = [
        "[ceremony]",
        f'operation = "{operation}"',
        'region = "350300"',
        'purpose = "登记颁发机构（示例）"',
        f'record = "{name}.record"',
        *more,
    ]
    for person in people.split():
        lines += ["[[custodian]]", f'id = "{person}"', f'name = "{PEOPLE[person]}"']
        lines += [f'folder = "{person}"', f'passphrase_file = "{person}.txt"']
    path = root / f"{name}.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A region founded under the custody of three, of whom two are needed."""
    root = tmp_path_factory.mktemp("custody")
    for person, name in PEOPLE.items():
        secret = root / f"{person}.txt"
        secret.write_text(f"{person} alone knows this\n")
        words = ("--id", person, "--name", name, "--passphrase-file", str(secret))
        made = call("ceremony", "custodian", str(root / person), *words)
        assert made.returncode == 0, made.stderr
    sharing = script(root, "share", "share", "jia yi bing", "threshold = 2", 'lifetime = "730d"')
    done = call("ceremony", "plan", str(sharing))
    assert done.returncode == 0, done.stderr
    assert "2 / 3" in done.stdout
    done = call("region", "init", str(root / "region"), *FOUNDING, "--ceremony", str(sharing))
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def custody(founded: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    with Region.open(founded / "region", passphrase=PASSPHRASE) as region:
        region.storage.database.checkpoint()
    return Path(shutil.copytree(founded, tmp_path / "custody"))


def _audited(root: Path) -> list[tuple[str, str, str, str]]:
    with Region.open(root / "region", passphrase=PASSPHRASE) as region:
        a = schema.audit.c
        with region.storage.read() as conn:
            rows = conn.execute(select(schema.audit).where(a.method.like("Console/%"))).all()
    return [(row.caller, row.method, row.outcome, row.reason) for row in rows]


def test_two_of_three_add_an_authority_and_it_is_on_record(custody: Path) -> None:
    add = ("authority", "add", str(custody / "region"), *ADDED)
    refused = call(*add)
    assert refused.returncode == 77
    opening = script(custody, "adding", "open", "jia bing")
    done = call(*add, "--offline-passphrase-file", str(opening))
    assert done.returncode == 0, done.stderr
    record = CeremonyRecord(custody / "adding.record", clock=SystemClock())
    assert record.signatures == {"jia", "bing"}
    assert _audited(custody) == [
        ("@console", "Console/OpenOfflineKeys", "WRONG_PASSPHRASE", "WRONG_PASSPHRASE"),
        ("@console", "Console/OpenOfflineKeys", "OK", ""),
    ]
    shown = call("ceremony", "record", str(custody / "adding.record"))
    assert shown.returncode == 0
    assert record.head.hex() in shown.stdout


def test_one_alone_adds_nobody(custody: Path) -> None:
    opening = script(custody, "alone", "open", "jia")
    words = ("--offline-passphrase-file", str(opening))
    done = call("authority", "add", str(custody / "region"), *ADDED, *words)
    assert done.returncode == 70
    assert "SHARE_THRESHOLD" in done.stderr
    assert _audited(custody)[-1][2:] == ("FAILED_PRECONDITION", "SHARE_THRESHOLD")
    with (
        Region.open(custody / "region", passphrase=PASSPHRASE) as region,
        region.storage.read() as conn,
    ):
        assert region.directory.snapshot(conn).authorities == {}


def test_an_expired_share_opens_nothing_and_it_is_audited(custody: Path) -> None:
    # The shares of a rehearsal hold for seconds: enough to prove them on a busy machine.
    renewing = script(custody, "renew", "renew", "jia yi", "threshold = 2", 'lifetime = "6s"')
    holders = script(custody, "holders", "open", "jia yi").read_text(encoding="utf-8")
    people = holders[holders.index("[[") :].replace("[[custodian]]", "[[holder]]")
    renewing.write_text(renewing.read_text(encoding="utf-8") + "\n" + people, encoding="utf-8")
    done = call("ceremony", "renew", str(custody / "region"), str(renewing))
    assert done.returncode == 0, done.stderr
    newest = CeremonyRecord(custody / "renew.record", clock=SystemClock())
    ends = newest.find("dealt")[0].members["deal"]["expires_at"]
    while SystemClock().now().timestamp() < ends:
        pass
    opening = script(custody, "late", "open", "jia yi")
    words = ("--offline-passphrase-file", str(opening))
    done = call("authority", "add", str(custody / "region"), *ADDED, *words)
    assert done.returncode == 70
    assert "SHARE_EXPIRED" in done.stderr
    assert _audited(custody)[-1][2:] == ("FAILED_PRECONDITION", "SHARE_EXPIRED")
    record = CeremonyRecord(custody / "late.record", clock=SystemClock())
    assert record.find("refused")[0].members["reason"] == "SHARE_EXPIRED"


def test_a_store_that_was_carried_away_is_opened_alone(custody: Path) -> None:
    away = custody / "safe" / "offline"
    shutil.move(custody / "region" / "offline", away)
    drill = script(custody, "drill", "open", "yi bing")
    done = call("ceremony", "open", str(away), str(drill))
    assert done.returncode == 0, done.stderr
    assert "yi" in done.stdout


def test_a_script_for_another_region_is_refused(custody: Path) -> None:
    drill = script(custody, "drill", "open", "yi bing")
    drill.write_text(drill.read_text(encoding="utf-8").replace("350300", "350400"))
    done = call("ceremony", "open", str(custody / "region"), str(drill))
    assert done.returncode != 0
    assert "REGION" in done.stderr


def test_a_wrong_passphrase_of_a_custodian_is_audited(custody: Path) -> None:
    (custody / "yi.txt").write_text("a guess of somebody\n")
    opening = script(custody, "wrong", "open", "jia yi")
    words = ("--offline-passphrase-file", str(opening))
    done = call("authority", "add", str(custody / "region"), *ADDED, *words)
    assert done.returncode == 77
    assert _audited(custody)[-1][3] == "WRONG_PASSPHRASE"


def test_shares_hold_as_long_as_the_script_says(founded: Path) -> None:
    path = next((founded / "jia").glob(f"*{SUFFIX}"))
    deal = Share.parse(path.read_bytes().removesuffix(b"\n")).deal
    assert deal.expires_at - deal.dealt_at == timedelta(days=730).total_seconds()
    assert deal.holders == ("jia", "yi", "bing")
