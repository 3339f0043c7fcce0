"""Approvals as a department's own system exports them: one row, one licence.

UTF-8, comma separated, a header. The leading columns are those of
`COLUMNS`; every other column is a field, named as the licence type's
catalogue entry names it in Chinese. Several holders of one licence are
separated by ``;`` in each of the three columns about them, in the same order.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from yinxin.catalogue import LicenceType
from yinxin.context import Context
from yinxin_proto.error import (
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
    Violation,
)
from yinxin_proto.issuerequest import NONCE_BYTES, SCHEMA, IssueRequest
from yinxin_proto.licence import LONG_TERM
from yinxin_proto.strict import Json, b64url_encode

MAX_BYTES: Final = 64 << 20
MAX_ROWS: Final = 100_000
SEPARATOR: Final = ";"
"""Between the holders of one licence."""

CASE_NUMBER: Final = "办件编号"
SERVICE_ITEM: Final = "事项编码"
TYPE: Final = "证照类型代码"
ISSUER: Final = "颁发机构代码"
HOLDER_COLUMNS: Final = {
    "name": "持证主体",
    "number": "持证主体代码",
    "number_type": "持证主体代码类型代码",
}
MEMBER_COLUMNS: Final = {
    "type": TYPE,
    "issuer": ISSUER,
    "number": "证照编号",
    "issued_on": "颁发日期",
    "valid_from": "有效期起始日期",
    "valid_until": "有效期截止日期",
}
REQUIRED: Final = (*MEMBER_COLUMNS.values(), *HOLDER_COLUMNS.values())
IGNORED: Final = frozenset({"事项名称", "证照名称", "颁发机构"})
"""Columns for the reader's eye; what is issued comes from the codes beside them."""
COLUMNS: Final = frozenset({CASE_NUMBER, SERVICE_ITEM, *REQUIRED, *IGNORED})

_COLUMN_OF: Final = {**MEMBER_COLUMNS, "holders": HOLDER_COLUMNS["number"]}
_ANY_NONCE: Final = b64url_encode(bytes(NONCE_BYTES))
"""Stands in where only the form of a request is judged."""

FindType = Callable[[str], LicenceType]
"""Returns a type with its definition; raises `NotFoundError` or `InvalidArgumentError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRow:
    """One approval of the file."""

    line: int
    """Line of the file that the row begins on, from 1."""
    case_number: str
    """办件编号; empty where the file has none."""
    service_item: str
    """事项编码; empty where the file has none."""
    request: Mapping[str, Json] = field(repr=False)
    """Content for `yinxin.Client.issue`; it names the holders."""

    def context(self, purpose: str, *, operator: str = "") -> Context:
        """Return the call context of this row's case."""
        return Context(
            purpose,
            case_number=self.case_number,
            service_item=self.service_item,
            operator=operator,
        )


def read_approvals(data: bytes, find_type: FindType, *, region: str) -> list[ApprovalRow]:
    """Read a file of approvals, or refuse it with every fault of every row.

    Args:
        data: The file, at most 64 MiB and 100,000 rows; UTF-8, perhaps with a
            byte order mark.
        find_type: Looks up a licence type, such as `yinxin.Client.type`; asked
            once for each code.
        region: Code of the region that is to issue.

    Raises:
        MalformedError: Not such a file (``CSV``, ``TOO_LARGE``).
        InvalidArgumentError: Unacceptable cells (``APPROVALS``); the field of a
            violation is ``rows[<line>].<column>``.
    """
    reader = _Reader(find_type, region)
    rows = [reader.read(line, cells) for line, cells in _records(_text(data), reader.violations)]
    if reader.violations:
        raise InvalidArgumentError(
            "the file of approvals has unacceptable cells; nothing was issued",
            reason="APPROVALS",
            violations=reader.violations,
        )
    return [row for row in rows if row is not None]


def _text(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise MalformedError("approvals: more than 64 MiB", reason="TOO_LARGE")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError(
            "approvals: not UTF-8; export the file as UTF-8 CSV", reason="CSV"
        ) from error


def _records(text: str, violations: list[Violation]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row's first line and its cells by column."""
    source = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(source, [])
        _check_header(header)
        line = source.line_num + 1
        for count, cells in enumerate(source):
            if count == MAX_ROWS:
                raise MalformedError(f"approvals: more than {MAX_ROWS} rows", reason="TOO_LARGE")
            if len(cells) == len(header):
                yield line, dict(zip(header, (cell.strip() for cell in cells), strict=True))
            elif cells:
                violations.append(
                    Violation(f"rows[{line}]", f"{len(header)} cells are expected", "ROW_LENGTH")
                )
            line = source.line_num + 1
    except csv.Error as error:
        raise MalformedError(f"approvals: not CSV: {error}", reason="CSV") from error


def _check_header(header: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if len(missing) == len(REQUIRED):
        raise MalformedError(
            "approvals: no known column; the first line names the columns", reason="CSV"
        )
    violations = [Violation(name, "the column is missing", "COLUMN_MISSING") for name in missing]
    violations += [
        Violation(name, "the column occurs twice", "COLUMN_TWICE")
        for name in dict.fromkeys(header)
        if header.count(name) > 1
    ]
    if violations:
        raise InvalidArgumentError(
            "the file of approvals lacks columns; nothing was issued",
            reason="APPROVALS",
            violations=violations,
        )


class _Reader:
    def __init__(self, find_type: FindType, region: str) -> None:
        self._find_type = find_type
        self._region = region
        self._types: dict[str, tuple[int, dict[str, str]] | None] = {}
        self.violations: list[Violation] = []

    def read(self, line: int, cells: Mapping[str, str]) -> ApprovalRow | None:
        found: list[Violation] = []
        kind = self._type(cells.get(TYPE, ""), found)
        request = None if kind is None else self._request(cells, kind, found)
        self.violations += [
            Violation(f"rows[{line}].{item.field}", item.description, item.reason) for item in found
        ]
        if request is None or found:
            return None
        return ApprovalRow(
            line=line,
            case_number=cells.get(CASE_NUMBER, ""),
            service_item=cells.get(SERVICE_ITEM, ""),
            request=request,
        )

    def _type(self, code: str, found: list[Violation]) -> tuple[int, dict[str, str]] | None:
        """Return a type's version, and its fields by Chinese name."""
        if code not in self._types:
            try:
                kind = self._find_type(code)
                names = {text.zh: name for name, text in kind.field_names.items()}
                self._types[code] = kind.schema_version, names
            except (NotFoundError, InvalidArgumentError):
                self._types[code] = None
        kind_found = self._types[code]
        if kind_found is None:
            found.append(Violation(TYPE, "is not in the region's catalogue", "LICENCE_TYPE"))
        return kind_found

    def _request(
        self, cells: Mapping[str, str], kind: tuple[int, dict[str, str]], found: list[Violation]
    ) -> dict[str, Json]:
        version, names = kind
        fields: dict[str, Json] = {}
        for column, cell in cells.items():
            if column in names:
                if cell:
                    fields[names[column]] = cell
            elif cell and column not in COLUMNS:
                found.append(
                    Violation(column, "this licence type has no such field", "COLUMN_FOREIGN")
                )
        request: dict[str, Json] = {
            **{name: cells.get(column, "") for name, column in MEMBER_COLUMNS.items()},
            "schema": SCHEMA,
            "region": self._region,
            "type_version": version,
            "holders": _holders(cells, found),
            "holder_key": None,
            "fields": fields,
        }
        if request["valid_until"] == LONG_TERM:
            request["valid_until"] = None
        found += _form_violations(request, names)
        return request


def _holders(cells: Mapping[str, str], found: list[Violation]) -> list[dict[str, Json]]:
    columns = {
        name: [part.strip() for part in cells.get(column, "").split(SEPARATOR)]
        for name, column in HOLDER_COLUMNS.items()
    }
    if len({len(parts) for parts in columns.values()}) != 1:
        found.append(
            Violation(
                HOLDER_COLUMNS["name"],
                "names, numbers and their types differ in count",
                "HOLDERS_UNEVEN",
            )
        )
    return [
        dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=False)
    ]


def _form_violations(request: Mapping[str, Json], names: Mapping[str, str]) -> Iterator[Violation]:
    """Yield what the form of an issue request refuses, by the file's own columns."""
    try:
        IssueRequest.from_document({**request, "nonce": _ANY_NONCE})
    except InvalidArgumentError as error:
        shown = {f"fields.{name}": column for column, name in names.items()}
        for item in error.violations:
            yield Violation(_column(item.field, shown), item.description, item.reason)


def _column(path: str, shown: Mapping[str, str]) -> str:
    if path.startswith("holders["):
        member = path.rpartition(".")[2]
        return HOLDER_COLUMNS.get(member, HOLDER_COLUMNS["name"])
    return shown.get(path) or _COLUMN_OF.get(path, path)
