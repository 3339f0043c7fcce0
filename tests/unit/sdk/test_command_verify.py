"""`yinxin verify` and `yinxin log`, as a clerk and a script run them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from support.fake_region import FakeRegion
from support.region_builder import RegionBuilder
from yinxin_edge.clock import SystemClock

Run = Callable[..., Any]


class World:
    """A pack and licences on disk."""

    def __init__(self, builder: RegionBuilder, folder: Path) -> None:
        self.folder = folder
        self.pack = folder / "pack"
        request = builder.request(fields=1)
        good, suspended = builder.issue(request=request), builder.issue(request=request)
        expired = builder.issue(
            request=replace(request, valid_from=date(2000, 1, 1), valid_until=date(2001, 1, 1))
        )
        builder.values[suspended.status_index] = 2
        self.good = self.write("good.json", builder.file(good))
        self.suspended = self.write("suspended.json", builder.file(suspended))
        self.expired = self.write("expired.json", builder.file(expired))
        self.bare = self.write("bare.txt", good.sd_jwt.encode())
        published = builder.repository()
        self.root = self.write("root.json", published.pinned)
        for name, data in builder.pack(repository=published).items():
            self.write(f"pack/{name}", data)

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


@pytest.fixture
def world(region: FakeRegion, tmp_path: Path) -> World:
    region.clock.set(SystemClock().now())
    return World(region.builder, tmp_path / "world")


def test_a_licence_that_passes_shows_what_it_says(run: Run, world: World) -> None:
    answer = run("verify", world.good, "--pack", world.pack)

    assert answer.status == 0
    assert answer.out.startswith("核验通过\n")
    for shown in ("虚构许可证", "虚构人甲", "2035-12-31", "虚构内容0"):
        assert shown in answer.out
    assert len(answer.out.splitlines()) > 21


@pytest.mark.parametrize(
    ("name", "status", "title", "reason"),
    [
        ("suspended", 1, "核验不通过", "证照已暂扣"),
        ("expired", 1, "核验不通过", "证照已过有效期"),
        ("bare", 2, "暂无法确认", "请持证人重新下载"),
    ],
)
def test_a_verdict_says_why_and_shows_no_claims(
    run: Run, world: World, name: str, status: int, title: str, reason: str
) -> None:
    answer = run("verify", getattr(world, name), "--pack", world.pack)

    assert answer.status == status
    assert answer.out.startswith(title)
    assert reason in answer.out
    assert "虚构人甲" not in answer.out


def test_the_verdict_can_be_had_in_english(run: Run, world: World) -> None:
    answer = run("verify", world.suspended, "--pack", world.pack, "--lang", "en")

    assert answer.out.startswith("Failed\nReason: the licence is suspended\n")


def test_a_verdict_says_how_old_its_trust_list_is(run: Run, world: World) -> None:
    said = run("verify", world.good, "--pack", world.pack)
    assert "信任列表已签发: 0 分钟" in said.out
    english = run("verify", world.good, "--pack", world.pack, "--lang", "en")
    assert "Trust list's age: 0 min" in english.out
    assert run("verify", world.good, "--pack", world.pack, "--json").json["trustAgeSeconds"] >= 0


@pytest.mark.parametrize("data", [b"", b"rubbish", b"{}", b"\xff" * 100, b"x" * (2 << 20)])
def test_a_malformed_licence_is_a_verdict(run: Run, world: World, data: bytes) -> None:
    broken = world.write("broken", data)
    limit = 1 << 20

    answer = run("verify", broken, "--pack", world.pack)

    assert answer.status == (1 if len(data) <= limit else 65)


def test_standard_input_is_read(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(world.good.read_bytes()), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stdin)

    assert run("verify", "-", "--pack", world.pack).status == 0


def test_json_is_whole_and_without_claims_unless_asked(run: Run, world: World) -> None:
    answer = run("verify", world.good, "--pack", world.pack, "--json")

    assert answer.json["indication"] == "TOTAL_PASSED"
    assert len(answer.json["checks"]) == 21
    assert "claims" not in answer.json
    assert "虚构人甲" not in answer.out
    with_claims = run("verify", world.good, "--pack", world.pack, "--json", "--claims").json
    assert with_claims["claims"]["CZZT"][0]["CZZT"] == "虚构人甲"


def test_a_day_can_be_asked_about(run: Run, world: World) -> None:
    then = run("verify", world.expired, "--pack", world.pack, "--at", "2000-06-01", "--json")
    assert then.json["at"] == "2000-05-31T16:00:00+00:00"
    assert then.json["reason"] != "EXPIRED"
    assert run("verify", world.good, "--pack", world.pack, "--at", "yesterday").status == 64
    assert run("verify", world.good, "--pack", world.pack, "--at", "2999-01-01").status == 65


def test_a_policy_is_one_of_those_named(run: Run, world: World) -> None:
    online = run("verify", world.good, "--pack", world.pack, "--policy", "ONLINE", "--json")
    assert online.json["policy"] == "ONLINE"
    assert run("verify", world.good, "--pack", world.pack, "--policy", "lax").status == 64


def test_the_root_is_remembered_from_the_first_use_on(run: Run, world: World) -> None:
    first = run("verify", world.good, "--pack", world.pack)
    assert "首次使用" in first.err
    again = run("verify", world.good, "--pack", world.pack)
    assert again.err == ""
    assert "与先前固定的一致" in again.out

    root = world.pack / "metadata" / "1.root.json"
    root.write_bytes(root.read_bytes() + b"\n")
    other = run("verify", world.good, "--pack", world.pack)
    assert (other.status, "PINNED_ROOT" in other.err) == (65, True)
    assert "--pin" in other.err


def test_a_root_that_is_given_needs_no_first_use(run: Run, world: World) -> None:
    answer = run("verify", world.good, "--pack", world.pack, "--pin", world.root)

    assert (answer.status, answer.err) == (0, "")
    assert "已指定" in answer.out


@pytest.mark.parametrize("damage", ["timestamp", "pack.json", "root"])
def test_a_broken_pack_is_broken_input(run: Run, world: World, damage: str) -> None:
    for file in [path for path in world.pack.rglob("*") if damage in path.name]:
        file.write_bytes(file.read_bytes()[:20])

    answer = run("verify", world.good, "--pack", world.pack)

    assert answer.status == 65
    assert answer.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing.json", "--pack", "."],
        ["{good}"],
        ["{good}", "--pack", "nowhere"],
        ["{good}", "--server", "127.0.0.1:1"],
        ["{good}", "--pack", "{pack}", "--bogus"],
    ],
)
def test_wrong_usage_is_sixty_four(run: Run, world: World, arguments: list[str]) -> None:
    filled = [one.format(good=world.good, pack=world.pack) for one in arguments]

    answer = run("verify", *filled)

    assert answer.status == 64
    assert "yinxin verify --help" in answer.err


def test_a_region_judges_online(online: Run, world: World) -> None:
    assert online("verify", world.good).status == 0
    answer = online("verify", world.suspended, "--json")
    assert (answer.status, answer.json["reason"]) == (1, "SUSPENDED")
    assert "首次使用" not in online("verify", world.good).out


def test_an_unreachable_region_is_no_verdict(online: Run, world: World) -> None:
    answer = online("verify", world.good, "--server", "127.0.0.1:1")

    assert (answer.status, answer.out) == (69, "")


def test_a_pack_asks_no_server(online: Run, region: FakeRegion, world: World) -> None:
    assert online("verify", world.good, "--pack", world.pack).status == 0
    assert region.calls == []


# --- log ------------------------------------------------------------------------------------


def test_a_proof_is_shown_and_checked(run: Run, world: World) -> None:
    unchecked = run("log", "prove", world.good)
    assert unchecked.status == 0
    assert "未核对" in unchecked.out

    proof = run("log", "prove", world.good, "--pack", world.pack, "--json").json
    assert proof["signature"] == "VALID"
    assert (proof["index"], proof["size"], len(proof["path"])) == (0, 3, 2)


def test_a_proof_reaches_to_the_log_as_it_is_now(
    online: Run, region: FakeRegion, world: World
) -> None:
    region.builder.fill_log(5)

    assert online("log", "prove", world.good, "--json").json["consistentWith"] == 8


def test_a_licence_that_was_altered_has_no_proof(run: Run, world: World) -> None:
    text = world.good.read_text(encoding="utf-8")
    start = text.index('"index ') if '"index ' in text else text.index("index 0")
    world.good.write_text(text[:start] + text[start:].replace("index 0", "index 1", 1), "utf-8")

    answer = run("log", "prove", world.good)

    assert (answer.status, "VERIFICATION_FAILED" in answer.err) == (65, True)
    assert run("log", "prove", world.bare).status == 70


def test_the_checkpoint_is_shown_and_checked(online: Run, region: FakeRegion, world: World) -> None:
    region.builder.fill_log(2)

    assert online("log", "checkpoint", "--json").json["signature"] == "UNCHECKED"
    checked = online("log", "checkpoint", "--pack", world.pack, "--json").json
    assert (checked["signature"], checked["size"], checked["consistentWith"]) == ("VALID", 5, 3)


def test_a_log_that_went_its_own_way_is_noticed(
    online: Run, region: FakeRegion, world: World
) -> None:
    region.builder.leaves[0] = bytes(32)
    region.builder.fill_log(2)

    answer = online("log", "checkpoint", "--pack", world.pack)

    assert (answer.status, "ROOT_MISMATCH" in answer.err) == (65, True)


def test_the_parallel_root_may_be_pinned(run: Run, region: FakeRegion, world: World) -> None:
    own = world.write("own.cer", region.builder.hierarchy.parallel.certificate)
    other = world.write("other.cer", region.builder.hierarchy.root.certificate)

    passed = run("verify", world.good, "--pack", world.pack, "--pq-root", own, "--json")
    refused = run("verify", world.good, "--pack", world.pack, "--pq-root", other)

    assert passed.status == 0
    assert "signed by the log with ML-DSA-44" in passed.out
    assert refused.status == 65
    assert "PQ_ROOT_PINNED" in refused.err


def test_the_root_of_the_credentials_is_pinned(
    online: Run, region: FakeRegion, world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "credentials"
    (folder / "root.json").write_bytes(world.root.read_bytes())
    stated = json.loads((folder / "region.json").read_bytes())
    (folder / "region.json").write_text(json.dumps({**stated, "root": "root.json"}))

    answer = online("verify", world.good, "--pack", world.pack)

    assert (answer.status, answer.err) == (0, "")
    assert "已指定" in answer.out


def test_fields_have_names_online(online: Run, region: FakeRegion, world: World) -> None:
    region.types["11100000MB03271699001"]["display_names"] = {
        "KZ_F0": {"zh": "坐落", "en": "Location"}
    }

    assert "坐落: 虚构内容0" in online("verify", world.good).out
    assert "Location: 虚构内容0" in online("verify", world.good, "--lang", "en").out
    del region.types["11100000MB03271699001"]
    assert "KZ_F0: 虚构内容0" in online("verify", world.good).out
