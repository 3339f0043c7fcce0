"""The commands of a region's own machine: what they make, and what they say."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from support.clock import FixedClock
from support.requests import AUTHORITY
from support.served_region import PASSPHRASE, call, run
from yinxin import Credentials, Verifier
from yinxin_proto import pem
from yinxin_proto.suite import ES256, SM2
from yinxin_trust import schema
from yinxin_trust.access import Role
from yinxin_trust.diagnosis import Diagnosis, Level, Observation
from yinxin_trust.publication import current_view
from yinxin_trust.region import Region
from yinxin_trust.registration import NewAuthority
from yinxin_trust.storage import put_setting

MARKET = "11350302MBYY00011H"
"""Credit code of an invented authority."""
FOUNDING = ("--code", "350300", "--domain", "putian.example", "--name", "莆田市（示例）")


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A region that the command founded, with one authority."""
    directory = tmp_path_factory.mktemp("founded") / "region"
    done = call("region", "init", str(directory), *FOUNDING, "--host", "licences.putian.example")
    assert done.returncode == 0, done.stderr
    done = call(
        "authority",
        "add",
        str(directory),
        *("--code", MARKET, "--name", "莆田市城厢区示例市场监督管理局"),
        *("--type", "营业执照", "--type", "11100000MB0143028R002"),
    )
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def copy(founded: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    with Region.open(founded, passphrase=PASSPHRASE) as region:
        region.storage.database.checkpoint()
    return Path(shutil.copytree(founded, tmp_path / "region"))


# --- region init ---------------------------------------------------------------------


def test_a_region_is_private_and_its_root_is_named(tmp_path: Path) -> None:
    done = call("region", "init", str(tmp_path / "new"), *FOUNDING)
    assert done.returncode == 0
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    fingerprint = next(line for line in done.stdout.splitlines() if "fingerprint" in line)
    with (
        Region.open(tmp_path / "new", passphrase=PASSPHRASE) as region,
        region.storage.read() as conn,
    ):
        assert region.namespace.domain == "putian.example"
        assert len(current_view(conn, region.clock.now()).paths("catalogue")) >= 10
    assert len(fingerprint.split()[-1]) == 64


@pytest.mark.parametrize(
    ("words", "own", "root"),
    [
        ((), "SM2", "SM2"),
        (("--suite", "ES256"), "ES256", "ES256"),
        (("--suite", "SM2", "--root-suite", "ML-DSA-65"), "SM2", "ML-DSA-65"),
    ],
)
def test_a_region_is_of_sm2_unless_told_otherwise(
    words: tuple[str, ...], own: str, root: str, tmp_path: Path
) -> None:
    done = call("region", "init", str(tmp_path / "new"), *FOUNDING, *words)
    assert done.returncode == 0, done.stderr
    with Region.open(tmp_path / "new", passphrase=PASSPHRASE) as region:
        suites = region.foundation.suites
        assert (suites.own.name, suites.root.name) == (own, root)


def test_where_sm2_cannot_be_had_it_is_refused_with_advice(tmp_path: Path) -> None:
    # As on a machine whose OpenSSL was built without it.
    words = ("region", "init", str(tmp_path / "new"), *FOUNDING)
    without = {"YINXIN_LIBCRYPTO": "libno-such-crypto.so", "YINXIN_PASSPHRASE": PASSPHRASE}
    done = run(*words, "--suite", "SM2", **without)
    assert done.returncode == 65
    assert "SM2_UNAVAILABLE" in done.stderr
    assert "--suite ES256" in done.stderr
    assert not (tmp_path / "new").exists()
    assert run(*words, **without).returncode == 0
    with Region.open(tmp_path / "new", passphrase=PASSPHRASE) as region:
        assert region.foundation.suite is ES256


def test_a_region_of_sm2_does_nothing_by_halves_where_sm2_is_gone(
    copy: Path, tmp_path: Path
) -> None:
    without = {"YINXIN_LIBCRYPTO": "libno-such-crypto.so"}
    words = ("--code", AUTHORITY, "--name", "示例局", "--type", "营业执照")
    done = run("authority", "add", str(copy), *words, "--out", str(tmp_path / "x"), **without)
    assert done.returncode == 70
    assert "SM2_UNAVAILABLE" in done.stderr
    assert not (tmp_path / "x").exists()
    with Region.open(copy, passphrase=PASSPHRASE) as region, region.storage.read() as conn:
        assert AUTHORITY not in region.directory.snapshot(conn).authorities
    done = run("doctor", str(copy), "--json", **without)
    faults = [item for item in json.loads(done.stdout) if item["level"] == "FAULT"]
    assert "SM2_UNAVAILABLE" in {item["values"]["code"] for item in faults}
    done = run("serve", str(copy), "--listen", "127.0.0.1:0", **without)
    assert done.returncode == 70
    assert "SM2_UNAVAILABLE" in done.stderr


def test_the_offline_keys_may_have_a_passphrase_of_their_own(tmp_path: Path) -> None:
    other = "another passphrase"
    made = call("region", "init", str(tmp_path / "new"), *FOUNDING, YINXIN_OFFLINE_PASSPHRASE=other)
    assert made.returncode == 0
    words = ["--code", MARKET, "--name", "示例局", "--type", "营业执照"]
    add = ["authority", "add", str(tmp_path / "new"), *words]
    assert call(*add).returncode == 77
    assert call(*add, YINXIN_OFFLINE_PASSPHRASE=other).returncode == 0


def test_passphrases_come_from_files_too(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text("from a file\n")
    words = (*FOUNDING, "--passphrase-file", str(file))
    made = call("region", "init", str(tmp_path / "new"), *words, YINXIN_PASSPHRASE="")
    assert made.returncode == 0, made.stderr
    with Region.open(tmp_path / "new", passphrase="from a file"):
        pass


# --- authority add, principal add -------------------------------------------------------


def test_an_authority_gets_what_its_client_needs(founded: Path) -> None:
    folder = founded / "clients" / "issuer-mbyy00011"
    credentials = Credentials.load(folder)
    assert credentials.authority == MARKET
    assert credentials.region == "350300"
    assert credentials.approval_key is not None
    assert credentials.approval_key.signer() is not None
    assert credentials.root == folder / "root.json"
    for name in ("client.key", "approval.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_an_authority_is_an_issuer_and_a_verifier(founded: Path) -> None:
    with Region.open(founded, passphrase=PASSPHRASE) as region, region.storage.read() as conn:
        snapshot = region.directory.snapshot(conn)
    principal = snapshot.principal("issuer-mbyy00011")
    assert principal.roles == {Role.ISSUER, Role.VERIFIER}
    assert principal.authority_code == MARKET
    assert {scope.type for scope in snapshot.authority(MARKET).scopes} == {
        "11100000MB0143028R001",
        "11100000MB0143028R002",
    }


def test_an_authority_may_keep_its_approval_key_to_itself(copy: Path, tmp_path: Path) -> None:
    key = SM2.generate()
    file = tmp_path / "approval.pub"
    file.write_bytes(pem.encode(pem.PUBLIC_KEY, key.public_key.spki))
    done = call(
        "authority",
        "add",
        str(copy),
        *("--code", AUTHORITY, "--name", "示例局", "--type", "营业执照"),
        *("--approval-key", str(file), "--out", str(tmp_path / "client")),
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "client" / "approval.key").exists()
    with Region.open(copy, passphrase=PASSPHRASE) as region, region.storage.read() as conn:
        known = region.directory.snapshot(conn).authority(AUTHORITY).approval_keys
    assert set(known) == {key.public_key.thumbprint}


def test_an_approval_key_of_another_suite_is_refused(copy: Path, tmp_path: Path) -> None:
    file = tmp_path / "approval.pub"
    file.write_bytes(pem.encode(pem.PUBLIC_KEY, ES256.generate().public_key.spki))
    done = call(
        "authority",
        "add",
        str(copy),
        *("--code", AUTHORITY, "--name", "示例局", "--type", "营业执照"),
        *("--approval-key", str(file), "--out", str(tmp_path / "client")),
    )
    assert done.returncode == 70
    assert "APPROVAL_KEY" in done.stderr


def test_a_private_key_is_not_taken_for_an_approval_key(copy: Path, tmp_path: Path) -> None:
    file = tmp_path / "approval.key"
    file.write_bytes(pem.encode(pem.PRIVATE_KEY, SM2.generate().to_pkcs8()))
    done = call(
        "authority",
        "add",
        str(copy),
        *("--code", AUTHORITY, "--name", "示例局", "--type", "营业执照"),
        *("--approval-key", str(file), "--out", str(tmp_path / "client")),
    )
    assert done.returncode == 70
    assert "APPROVAL_KEY" in done.stderr
    assert not (tmp_path / "client").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--code", "123", "--name", "示例局", "--type", "营业执照"), "CREDIT_CODE"),
        (("--code", AUTHORITY, "--name", "示例局", "--type", "飞行执照"), "LICENCE_TYPE"),
        (("--code", AUTHORITY, "--name", "示例局", "--type", "居民身份证"), "INVALID_ARGUMENT"),
        (("--code", MARKET, "--name", "示例局", "--type", "营业执照"), "AUTHORITY_EXISTS"),
    ],
)
def test_an_authority_that_cannot_be_added_leaves_nothing(
    words: tuple[str, ...], reason: str, copy: Path, tmp_path: Path
) -> None:
    out = tmp_path / "client"
    done = call("authority", "add", str(copy), *words, "--out", str(out))
    assert done.returncode in (65, 70)
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_an_authority_whose_client_cannot_be_written_is_not_added(
    copy: Path, tmp_path: Path
) -> None:
    out = tmp_path / "client"
    words = ("--code", AUTHORITY, "--name", "示例局", "--type", "营业执照", "--out", str(out))

    def fail(_: object) -> None:
        raise OSError("no space left, as it were")

    with Region.open(copy, passphrase=PASSPHRASE, offline_passphrase=PASSPHRASE) as region:
        added = NewAuthority(
            code=AUTHORITY,
            name="示例局",
            types=("11100000MB0143028R001",),
            approval_key=SM2.generate().public_key,
        )
        with pytest.raises(OSError, match="as it were"):
            region.registrar.add_authority(added, also=fail)
        with region.storage.read() as conn:
            assert AUTHORITY not in region.directory.snapshot(conn).authorities

    # What an attempt that was killed left of the folder does not stand in the way either.
    (out / ".unfinished").mkdir(parents=True)
    (out / ".unfinished" / "approval.key").write_text("never believed")
    done = call("authority", "add", str(copy), *words)
    assert done.returncode == 0, done.stderr
    assert not (out / ".unfinished").exists()
    assert Credentials.load(out).authority == AUTHORITY


def test_a_department_gets_what_its_client_needs(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "centre"
    words = ("--id", "service-centre", "--name", "示例中心", "--role", "verifier")
    done = call("principal", "add", str(copy), *words, "--out", str(out))
    assert done.returncode == 0, done.stderr
    credentials = Credentials.load(out)
    assert credentials.authority is None
    assert credentials.approval_key is None
    assert credentials.name == "示例中心"
    again = call("principal", "add", str(copy), *words, "--out", str(tmp_path / "again"))
    assert again.returncode == 70
    assert "PRINCIPAL_EXISTS" in again.stderr
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--id", "Service Centre", "--role", "verifier"),
        ("--id", "350302188503150016", "--role", "verifier"),
        ("--id", "x", "--role", "auditor", "--role", "security-administrator"),
        ("--id", "x", "--role", "issuer", "--authority", AUTHORITY),
    ],
)
def test_a_principal_that_cannot_be_added_leaves_nothing(
    words: tuple[str, ...], copy: Path, tmp_path: Path
) -> None:
    done = call("principal", "add", str(copy), *words, "--out", str(tmp_path / "client"))
    assert done.returncode in (65, 70)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "client").exists()


def test_a_principal_is_stopped_and_let_call_again(copy: Path, tmp_path: Path) -> None:
    words = ("--id", "service-hall", "--role", "verifier", "--out", str(tmp_path / "client"))
    assert call("principal", "add", str(copy), *words).returncode == 0
    for command, enabled in (("disable", False), ("enable", True)):
        done = call("principal", command, str(copy), "--id", "service-hall")
        assert done.returncode == 0, done.stderr
        assert "service-hall" in done.stdout
        with Region.open(copy, passphrase=PASSPHRASE) as region, region.storage.read() as conn:
            principal = region.directory.snapshot(conn).principal("service-hall")
        assert principal.enabled is enabled
    missing = call("principal", "disable", str(copy), "--id", "nobody")
    assert missing.returncode == 70
    assert "PRINCIPAL" in missing.stderr
    assert "Traceback" not in missing.stderr


# --- type ---------------------------------------------------------------------------------


def test_the_types_are_listed(founded: Path) -> None:
    done = call("type", "list", str(founded), YINXIN_LANG="zh")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0] == ["类型代码", "要素版本", "名称", "用途"]
    assert ["11100000MB0143028R001", "1", "营业执照", "签发"] in rows
    assert ["11100000000013194B001", "1", "居民身份证", "只核验"] in rows


def test_a_type_is_shown_by_name_or_code(founded: Path) -> None:
    by_name = call("type", "show", str(founded), "营业执照")
    by_code = call("type", "show", str(founded), "11100000MB0143028R001")
    assert by_name.returncode == 0
    assert by_name.stdout == by_code.stdout
    assert "KZ_" in by_name.stdout
    missing = call("type", "show", str(founded), "飞行执照")
    assert missing.returncode == 70
    assert "LICENCE_TYPE" in missing.stderr


def test_a_new_schema_version_is_published(copy: Path, tmp_path: Path) -> None:
    file = tmp_path / "next.json"
    file.write_text(json.dumps(_next_version(copy), ensure_ascii=False))
    done = call("type", "add", str(copy), str(file))
    assert done.returncode == 0, done.stderr
    assert call("type", "add", str(copy), str(file)).returncode == 70
    assert call("pack", "export", str(copy), str(tmp_path / "pack")).returncode == 0
    published = next((tmp_path / "pack" / "targets" / "catalogue").glob("*11100000MB0143028R001*"))
    assert json.loads(published.read_bytes())["schema_version"] == 2


def test_a_type_with_faults_names_them_all(copy: Path, tmp_path: Path) -> None:
    document = {**_next_version(copy), "code": "x", "min_holders": 0, "issue_mode": "maybe"}
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(document))
    done = call("type", "add", str(copy), str(file))
    assert done.returncode == 65
    for field in ("code", "min_holders", "issue_mode"):
        assert field in done.stderr


def _next_version(directory: Path) -> dict[str, Any]:
    shown = call("type", "show", str(directory), "营业执照", "--json")
    document: dict[str, Any] = json.loads(shown.stdout)
    document["schema_version"] = 2
    document["fields"]["$id"] = document["fields"]["$id"].removesuffix("1") + "2"
    return document


# --- pack export ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pack", "pack.zip"])
def test_a_pack_is_a_directory_or_a_file(name: str, founded: Path, tmp_path: Path) -> None:
    out = tmp_path / name
    assert call("pack", "export", str(founded), str(out)).returncode == 0
    assert out.is_file() is name.endswith(".zip")
    root = founded / "clients" / "issuer-mbyy00011" / "root.json"
    verifier = Verifier.open(out, pin=root)
    assert [authority.code for authority in verifier.trust.home.trust_list.authorities] == [MARKET]
    # Again, over itself.
    assert call("pack", "export", str(founded), str(out)).returncode == 0


def test_a_pack_does_not_replace_what_is_none(founded: Path, tmp_path: Path) -> None:
    letter = tmp_path / "letter.zip"
    letter.write_text("mine")
    done = call("pack", "export", str(founded), str(letter))
    assert done.returncode == 70
    assert letter.read_text() == "mine"


# --- doctor ----------------------------------------------------------------------------------


def test_a_sound_region_is_told_so(founded: Path) -> None:
    done = call("doctor", str(founded), "--json")
    assert done.returncode == 0, done.stderr
    seen = {item["topic"]: item for item in json.loads(done.stdout)}
    assert seen["data"]["level"] == "OK"
    assert seen["certificate"]["level"] == "OK"
    assert seen["libcrypto"]["level"] == "OK"
    assert {"keys", "suites", "database", "clock", "space", "role", "libraries"} <= seen.keys()


def test_contradictions_are_faults(copy: Path) -> None:
    with Region.open(copy, passphrase=PASSPHRASE) as region, region.storage.write() as conn:
        conn.execute(update(schema.log_head).values(root=b"\0" * 32))
    done = call("doctor", str(copy))
    assert done.returncode == 1
    assert "HEAD_ROOT" in done.stdout
    assert "FAULT" in done.stdout


def test_keys_that_others_can_read_are_a_fault(copy: Path) -> None:
    (copy / "keys").chmod(0o755)
    done = call("doctor", str(copy), "--json")
    assert done.returncode == 1
    assert [item["topic"] for item in json.loads(done.stdout) if item["level"] == "FAULT"] == [
        "permissions"
    ]


def test_a_region_without_its_offline_keys_is_examined_too(copy: Path) -> None:
    shutil.rmtree(copy / "offline")
    done = call("doctor", str(copy), "--json")
    assert done.returncode == 0, done.stderr
    (offline,) = (item for item in json.loads(done.stdout) if item["topic"] == "offline")
    assert offline["level"] == "OK"


def _at(directory: Path, now: datetime) -> Mapping[str, list[Observation]]:
    """What doctor sees at a moment, by topic."""
    with Region.open(directory, passphrase=PASSPHRASE, clock=FixedClock(now)) as region:
        seen: dict[str, list[Observation]] = {}
        for one in Diagnosis(region=region, directory=directory).observations():
            seen.setdefault(one.topic, []).append(one)
    return seen


def test_a_clock_that_is_behind_is_a_fault(founded: Path) -> None:
    (clock,) = _at(founded, datetime(2020, 1, 1, tzinfo=UTC))["clock"]
    assert clock.level is Level.FAULT
    assert clock.text == "clock.behind"


def test_what_a_server_renews_is_a_note_when_it_is_old(founded: Path) -> None:
    later = datetime.now(UTC) + timedelta(days=30)  # noqa: TID251 - the region's is the real one
    seen = _at(founded, later)
    assert {one.text for one in seen["revocation"]} == {"stale"}
    assert max(one.level for one in seen["online_role"]) is Level.NOTE


def test_what_runs_out_soon_is_a_note_and_then_a_fault(founded: Path) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the region's clock is the real one
    soon = _at(founded, now + timedelta(days=350))
    assert "certificate.soon" in {one.text for one in soon["certificate"]}
    over = _at(founded, now + timedelta(days=370))
    assert "certificate.over" in {one.text for one in over["certificate"]}
    assert any(one.level is Level.FAULT for one in over["certificate"])


def test_a_check_that_cannot_be_made_is_a_fault_and_stops_no_other(copy: Path) -> None:
    with Region.open(copy, passphrase=PASSPHRASE) as region, region.storage.write() as conn:
        put_setting(conn, "crl/tls", "00")
    seen = _at(copy, datetime.now(UTC))  # noqa: TID251 - the region's clock is the real one
    assert [one.level for one in seen["revocation_lists"]] == [Level.FAULT]
    assert "libraries" in seen
