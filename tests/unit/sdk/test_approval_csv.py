"""A department's export becomes requests, or every fault of it is told at once."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fake_publication import CATALOGUE
from yinxin import InvalidArgumentError, LicenceType, MalformedError, NotFoundError, read_approvals
from yinxin.approval_csv import MAX_ROWS
from yinxin_proto.error import YinxinError
from yinxin_proto.issuerequest import IssueRequest
from yinxin_verifier.reason import Text

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "approvals-putian.csv"
REGION = "350300"
NONCE = "A" * 43


def find_type(code: str) -> LicenceType:
    path = CATALOGUE / f"{code}-1.json"
    if not code.isalnum() or not path.exists():
        raise NotFoundError("no such type")
    entry = json.loads(path.read_bytes())
    return LicenceType(
        code=code,
        display_name=Text(entry["name"]["zh"], entry["name"]["en"]),
        schema_version=entry["schema_version"],
        is_issued=True,
        validity=entry["validity"],
        min_holders=entry["min_holders"],
        max_holders=entry["max_holders"],
        number_types=tuple(entry["number_types"]),
        definition=entry,
    )


def edited(*edits: tuple[int, str, str], rows: int = 5) -> bytes:
    """The first rows of the example with some cells changed; row 0 is the first."""
    source = list(csv.DictReader(io.StringIO(EXAMPLE.read_text(encoding="utf-8"), newline="")))
    for row, column, value in edits:
        source[row][column] = value
    out = io.StringIO()
    writer = csv.DictWriter(out, list(source[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(source[:rows])
    return out.getvalue().encode()


def violations(data: bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidArgumentError) as caught:
        read_approvals(data, find_type, region=REGION)
    assert caught.value.reason == "APPROVALS"
    return [(item.field, item.reason) for item in caught.value.violations]


def test_the_example_is_two_hundred_requests() -> None:
    rows = read_approvals(EXAMPLE.read_bytes(), find_type, region=REGION)

    assert len(rows) == 200
    requests = [IssueRequest.from_document({**row.request, "nonce": NONCE}) for row in rows]
    assert {len(request.holders) for request in requests} == {1, 2}
    assert all(request.region == REGION for request in requests)
    assert any(request.valid_until is None for request in requests)
    first = rows[0]
    assert (first.line, first.case_number, first.service_item) == (
        2,
        "SL20260106000001",
        "000131001000",
    )
    assert requests[0].fields["KZ_FDDBR"]
    assert first.context("核发", operator="窗口").case_number == first.case_number


def test_each_type_is_looked_up_once() -> None:
    asked: list[str] = []

    def find(code: str) -> LicenceType:
        asked.append(code)
        return find_type(code)

    read_approvals(EXAMPLE.read_bytes(), find, region=REGION)

    assert len(asked) == len(set(asked)) == 6


def test_a_byte_order_mark_and_blank_lines_are_nothing() -> None:
    data = b"\xef\xbb\xbf" + edited().replace(b"\n", b"\r\n") + b"\r\n\r\n"

    assert len(read_approvals(data, find_type, region=REGION)) == 5


def test_every_fault_of_every_row_is_told_by_line_and_column() -> None:
    data = edited(
        (0, "颁发日期", "2026年1月6日"),
        (1, "持证主体代码", "91350303MAYY000850"),
        (1, "证照编号", ""),
        (2, "有效期截止日期", "2020-01-01"),
        (3, "证照类型代码", "999999999999999999999"),
        (4, "持证主体", "一;二"),
    )

    assert violations(data) == [
        ("rows[2].颁发日期", "FIELD_DATE"),
        ("rows[3].证照编号", "FIELD_LENGTH"),
        ("rows[3].持证主体代码", "NUMBER_CHECKSUM"),
        ("rows[4].有效期截止日期", "DATES_REVERSED"),
        ("rows[5].证照类型代码", "LICENCE_TYPE"),
        ("rows[6].持证主体", "HOLDERS_UNEVEN"),
    ]


def test_a_fault_never_repeats_the_number() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_approvals(edited((0, "持证主体代码", "91350303MAYY000850")), find_type, region=REGION)

    assert "91350303MAYY000850" not in str(caught.value)


def test_a_field_of_another_type_is_refused() -> None:
    assert violations(edited((0, "不动产单元号", "350302001002GB00001F00000001"))) == [
        ("rows[2].不动产单元号", "COLUMN_FOREIGN")
    ]


def test_a_cell_with_control_characters_is_refused() -> None:
    assert violations(edited((0, "住所", "城厢区\x1b[2J"))) == [("rows[2].住所", "FIELD_CHARACTER")]


def test_missing_and_repeated_columns_are_told_together() -> None:
    data = edited().replace("证照编号,".encode(), "住所,".encode(), 1)

    assert violations(data) == [("证照编号", "COLUMN_MISSING"), ("住所", "COLUMN_TWICE")]


def test_a_row_of_another_length_is_named() -> None:
    lines = edited().split(b"\n")
    lines[2] = lines[2] + b",more"

    assert violations(b"\n".join(lines)) == [("rows[3]", "ROW_LENGTH")]


def test_a_cell_of_several_lines_keeps_the_count_of_lines() -> None:
    data = edited((0, "经营范围", "一\n二"), (1, "颁发日期", "?"))

    assert violations(data) == [("rows[4].颁发日期", "FIELD_DATE")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "CSV"),
        (b"a,b\n1,2\n", "CSV"),
        ("证照编号\n".encode("gb18030"), "CSV"),
        (edited()[:-40] + b'"open', "CSV"),
        (b"\0" * 100, "CSV"),
    ],
)
def test_what_is_no_such_file_is_malformed(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read_approvals(data, find_type, region=REGION)

    assert caught.value.reason == reason


def test_the_number_of_rows_is_bounded() -> None:
    header = edited().split(b"\n", 1)[0]

    with pytest.raises(MalformedError) as caught:
        read_approvals(header + b"\n" + b"\n" * (MAX_ROWS + 1), find_type, region=REGION)

    assert caught.value.reason == "TOO_LARGE"


@given(st.binary(max_size=400))
def test_no_input_ends_but_in_rows_or_a_typed_error(tail: bytes) -> None:
    header = edited().split(b"\n", 1)[0]
    for data in (tail, header + b"\n" + tail):
        try:
            read_approvals(data, find_type, region=REGION)
        except YinxinError as error:
            assert error.reason in {"CSV", "TOO_LARGE", "APPROVALS"}  # noqa: PT017
