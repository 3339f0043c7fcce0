"""`yinxin licence …`, as a department's clerk runs it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.fake_region import FakeRegion, request_content
from support.region_builder import CODE
from yinxin_proto.error import PermissionDeniedError
from yinxin_proto.licence import LicenceFile

Run = Callable[..., Any]

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "approvals-putian.csv"
LEADING = (
    "办件编号,事项编码,证照类型代码,颁发机构代码,证照编号,颁发日期,有效期起始日期,有效期截止日期,"
    "持证主体,持证主体代码,持证主体代码类型代码,坐落"
)
OTHER_AUTHORITY = "11350302MBYY00011H"


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_csv(path: Path, *rows: tuple[str, str]) -> Path:
    """Write approvals, each of an authority and with a licence number."""
    lines = [
        f"SL{number},0001,11100000MB03271699001,{authority},{number},2026-01-01,2026-01-01,长期,"
        f"虚构人甲,350302188503150016,111,虚构路{number}号"
        for authority, number in rows
    ]
    path.write_text("\n".join([LEADING, *lines, ""]), encoding="utf-8")
    return path


def issue_one(online: Run, tmp_path: Path) -> str:
    """Issue a licence and return its resource name."""
    answer = online(
        "licence", "issue", write_json(tmp_path / "r.json", request_content()), "--json"
    )
    name: str = answer.json[0]["name"]
    return name


def test_a_request_becomes_a_licence_file(online: Run, region: FakeRegion, tmp_path: Path) -> None:
    request = write_json(tmp_path / "request.json", request_content())

    answer = online(
        "licence", "issue", request, "--out", tmp_path / "out", "--case", "SL1", "--operator", "甲"
    )

    assert answer.status == 0
    (saved,) = (tmp_path / "out").iterdir()
    assert LicenceFile.parse(saved.read_bytes()).receipt is not None
    assert str(saved) in answer.out
    assert "有效" in answer.out
    assert "350302188503150016" not in answer.out + answer.err
    assert (region.last.context.case_number, region.last.context.operator) == ("SL1", "甲")


def test_an_array_is_a_batch_under_one_approval(
    online: Run, region: FakeRegion, tmp_path: Path
) -> None:
    batch = write_json(tmp_path / "b.json", [request_content("一"), request_content("二")])

    answer = online("licence", "issue", batch, "--json", "--no-wait")

    assert [one["state"] for one in answer.json] == ["valid", "valid"]
    assert len(region.last.requests) == 2
    assert region.last.return_immediately


def test_each_row_is_issued_under_its_own_case(
    online: Run, region: FakeRegion, tmp_path: Path
) -> None:
    rows = write_csv(tmp_path / "a.csv", (CODE, "甲1"), (CODE, "甲2"), (CODE, "甲3"))

    answer = online("licence", "issue", rows, "--out", tmp_path / "out", "--jobs", 2)

    assert answer.status == 0
    sent = [call for call in region.calls if hasattr(call, "approval")]
    assert {call.context.case_number for call in sent} == {"SL甲1", "SL甲2", "SL甲3"}
    assert {call.context.service_item for call in sent} == {"0001"}
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert "已签发 3 份" in answer.err


def test_the_same_file_again_issues_nothing_twice(
    online: Run, region: FakeRegion, tmp_path: Path
) -> None:
    rows = write_csv(tmp_path / "a.csv", (CODE, "甲1"), (CODE, "甲2"))

    first = online("licence", "issue", rows, "--json").json
    again = online("licence", "issue", rows, "--json").json
    batch = online("licence", "issue", rows, "--json", "--batch")

    assert {one["identifier"] for one in first} == {one["identifier"] for one in again}
    assert len(region.kept) == 2
    assert batch.status == 65


def test_rows_of_another_authority_are_left_out_only_if_asked(
    online: Run, region: FakeRegion, tmp_path: Path
) -> None:
    rows = write_csv(tmp_path / "a.csv", (CODE, "甲1"), (OTHER_AUTHORITY, "乙1"))

    refused = online("licence", "issue", rows)
    assert refused.status == 65
    assert "rows[3].颁发机构代码" in refused.err
    assert region.kept == {}

    assert online("licence", "issue", rows, "--own-only").status == 0
    assert len(region.kept) == 1


def test_a_row_that_the_region_refuses_does_not_stop_the_others(
    online: Run, region: FakeRegion, tmp_path: Path
) -> None:
    issue_one(online, tmp_path)
    rows = write_csv(tmp_path / "a.csv", (CODE, "虚构证字第00001号"), (CODE, "甲2"))

    answer = online("licence", "issue", rows)

    assert answer.status == 65
    assert "第 2 行未签发" in answer.err
    assert "证照编号已被使用" in answer.err
    assert "已签发 1 份" in answer.err or "有效" in answer.out
    assert len(region.kept) == 2


def test_every_fault_of_a_file_is_told_and_nothing_is_issued(
    online: Run, region: FakeRegion, tmp_path: Path
) -> None:
    rows = write_csv(tmp_path / "a.csv", (CODE, "甲1"), (CODE, ""))
    rows.write_text(rows.read_text("utf-8").replace("2026-01-01,长期", "2026-01-01,?"), "utf-8")

    answer = online("licence", "issue", rows)

    assert answer.status == 65
    for field in ("rows[2].有效期截止日期", "rows[3].有效期截止日期", "rows[3].证照编号"):
        assert field in answer.err
    assert region.kept == {}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("", 65),
        ("[1,2]", 65),
        ('"text"', 65),
        ('{"a":1,"a":2}', 65),
        ("{}", 65),
        ("[" * 100 + "]" * 100, 65),
    ],
)
def test_a_file_that_is_no_request_is_broken_input(
    online: Run, tmp_path: Path, content: str, status: int
) -> None:
    (tmp_path / "r.json").write_text(content, encoding="utf-8")

    assert online("licence", "issue", tmp_path / "r.json").status == status


def test_a_wrong_passphrase_is_not_permitted(
    online: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YINXIN_APPROVAL_PASSPHRASE", "wrong")

    answer = online("licence", "issue", write_json(tmp_path / "r.json", request_content()))

    assert answer.status == 77
    assert "口令不正确" in answer.err


def test_a_refused_caller_is_not_permitted(online: Run, region: FakeRegion, tmp_path: Path) -> None:
    region.failures = [PermissionDeniedError("not an issuer", reason="ROLE")]

    answer = online("licence", "list")

    assert answer.status == 77
    assert "PERMISSION_DENIED / ROLE" in answer.err


def test_a_region_that_is_not_there_is_unreachable(
    online: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_json(tmp_path / "r.json", request_content(type_version=1))

    answer = online("licence", "issue", rows, "--server", "127.0.0.1:1")

    assert answer.status == 69
    assert "检查地址与网络" in answer.err


def test_a_purpose_is_asked_for(
    online: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("YINXIN_PURPOSE")
    assert online("licence", "list").status == 64

    answer = online("licence", "list", "--purpose", " ")
    assert answer.status == 65
    assert "context.purpose" in answer.err


def test_a_licence_is_shown_and_saved(online: Run, tmp_path: Path) -> None:
    name = issue_one(online, tmp_path)

    assert name in online("licence", "get", name).out
    saved = online("licence", "get", name, "--out", tmp_path / "one.json", "--json").json["file"]
    assert LicenceFile.parse(Path(saved).read_bytes()).opening is not None
    refused = online("licence", "get", name, "--out", tmp_path / "no" / "such" / "one.json")
    assert (refused.status, "--out" in refused.err) == (70, True)


def test_a_licence_file_goes_to_standard_output_as_it_is(
    online: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = issue_one(online, tmp_path)
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8"))

    online("licence", "get", name, "--out", "-")

    assert LicenceFile.parse(raw.getvalue()).receipt is not None


def test_a_holders_file_is_asked_for_by_number_from_a_pipe(
    online: Run, region: FakeRegion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue_one(online, tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("350302188503150016\n"))

    answer = online("licence", "list", "--holder", "111", "--state", "valid")

    assert answer.status == 0
    assert len(answer.out.splitlines()) == 2
    assert region.last.holder.value == "350302188503150016"
    monkeypatch.setattr(sys, "stdin", io.StringIO("350302188503150017\n"))
    assert online("licence", "list", "--holder", "111").status == 65
    assert online("licence", "list", "--holder", "000").status == 65


def test_a_long_list_says_that_there_is_more(online: Run, tmp_path: Path) -> None:
    online(
        "licence",
        "issue",
        write_json(tmp_path / "b.json", [request_content(f"第{n}号") for n in range(5)]),
    )

    answer = online("licence", "list", "--limit", 3, "--json")

    assert len(answer.json) == 3
    assert "--limit" in answer.err
    assert "--limit" not in online("licence", "list").err


@pytest.mark.parametrize(
    "verb", ["suspend", "revoke", "cancel", "freeze", "lose", "annul", "withdraw"]
)
def test_each_change_is_made_once(
    online: Run, region: FakeRegion, tmp_path: Path, verb: str
) -> None:
    name = issue_one(online, tmp_path)
    said = ("--reason", "投诉调查", "--legal-basis", "虚构条例第一条")

    answer = online("licence", verb, name, *said)
    assert answer.status == 0
    assert "已办理" in answer.err
    again = online("licence", verb, name, *said)
    assert (again.status, "TRANSITION" in again.err) == (70, True)

    assert online("licence", "reinstate", name, *said, "--json").json["state"] == "valid"
    events = online("licence", "events", name, "--lang", "en").out.splitlines()
    assert len(events) == 3
    assert "reinstate" in events[2]


def test_a_change_takes_effect_when_it_says(
    online: Run, region: FakeRegion, tmp_path: Path
) -> None:
    name = issue_one(online, tmp_path)
    said = ("--reason", "甲", "--legal-basis", "乙")

    answer = online(
        "licence", "suspend", name, *said, "--effective", "2026-01-31T09:30", "--request-id", "r1"
    )
    assert answer.status == 0
    (kept,) = region.kept.values()
    assert kept.events[0].effective_time.ToJsonString() == "2026-01-31T01:30:00Z"
    assert online("licence", "revoke", name, *said, "--effective", "soon").status == 64
    assert online("licence", "revoke", name, *said, "--request-id", "r2").status == 65
    assert online("licence", "revoke", name, "--reason", "甲").status == 64


def test_the_example_names_its_authorities_and_rows(online: Run) -> None:
    answer = online("licence", "issue", EXAMPLE)

    assert answer.status == 65
    assert "rows[2].颁发机构代码" in answer.err
    assert "不是凭据所属的颁发机构" in answer.err
