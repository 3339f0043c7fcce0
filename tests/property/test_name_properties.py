"""Resource names: exact inverses on any input."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.name import (
    AuthorityName,
    LicenceName,
    OperationName,
    PrincipalName,
    RegionName,
    SubjectName,
    TypeName,
    parse_region_code,
    region_contains,
    region_level,
)

KINDS = st.sampled_from(
    [
        RegionName,
        LicenceName,
        AuthorityName,
        TypeName,
        SubjectName,
        PrincipalName,
        OperationName,
    ]
)
CODES = st.from_regex(r"(1[1-5]|35)(0000|(0[1-9]|[1-9][0-9])[0-9]{2})", fullmatch=True).map(
    parse_region_code
)
SEGMENTS = st.sampled_from(
    ["regions", "350300", "licences", "authorities", "subjects", "", "a-1", "..", "A.B.C", "a@001"]
) | st.text(max_size=4)


@given(KINDS, st.lists(SEGMENTS, max_size=5).map("/".join))
def test_any_text_is_parsed_or_refused(
    kind: type[RegionName | LicenceName | AuthorityName], text: str
) -> None:
    with suppress(InvalidArgumentError):
        assert str(kind.parse(text)) == text


@given(CODES, st.from_regex(r"[0-9a-f]{32}", fullmatch=True))
def test_what_is_written_is_parsed(code: str, id_: str) -> None:
    name = SubjectName(parse_region_code(code), id_)
    assert SubjectName.parse(str(name)) == name


@given(CODES, CODES, CODES)
def test_containing_is_an_order(a: str, b: str, c: str) -> None:
    first, second, third = map(parse_region_code, (a, b, c))
    assert region_contains(first, first)
    if region_contains(first, second) and region_contains(second, first):
        assert first == second
    if region_contains(first, second) and region_contains(second, third):
        assert region_contains(first, third)
    if region_contains(first, second):
        assert region_level(first) <= region_level(second)
