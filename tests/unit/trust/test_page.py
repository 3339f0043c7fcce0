"""Page tokens and page sizes, without a database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.strict import b64url_decode, b64url_encode
from yinxin_trust.page import Cursor, Page, PageTokens, page_size_of

TOKENS = PageTokens(keys=lambda: [bytes(range(32))])


@given(
    position=st.integers(-(2**63), 2**63 - 1),
    ref=st.binary(max_size=32),
    query=st.lists(st.text(max_size=8).filter(str.isascii), max_size=3),
)
def test_a_token_reads_as_the_place_it_was_issued_for(
    position: int, ref: bytes, query: list[str]
) -> None:
    cursor = Cursor(position, ref)

    assert TOKENS.read(TOKENS.issue(cursor, [*query]), [*query]) == cursor


@given(text=st.text(max_size=200).filter(bool))
def test_no_other_text_is_a_token(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        TOKENS.read(text, ["query"])


def test_no_token_is_the_first_page() -> None:
    assert TOKENS.read("", ["query"]) is None


def test_a_token_of_another_key_is_refused() -> None:
    token = PageTokens(keys=lambda: [bytes(32)]).issue(Cursor(1, b"ref"), ["query"])

    with pytest.raises(InvalidArgumentError):
        TOKENS.read(token, ["query"])


def test_place_and_query_cannot_be_shifted_into_each_other() -> None:
    raw = b64url_decode(TOKENS.issue(Cursor(1, b"ab"), ["query"]))
    shorter = raw[:9] + raw[10:]

    with pytest.raises(InvalidArgumentError):
        TOKENS.read(b64url_encode(shorter), ["query"])


@pytest.mark.parametrize(
    ("asked", "size"), [(0, 50), (1, 1), (999, 999), (1000, 1000), (5000, 1000)]
)
def test_sizes_are_bounded(asked: int, size: int) -> None:
    assert page_size_of(asked) == size


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        page_size_of(-1)


def list_page(items: list[int], size: int, token: str = "") -> Page[int]:
    return TOKENS.of_list(
        items, position_of=lambda item: item, query=["list"], page_size=size, page_token=token
    )


@pytest.mark.parametrize("items", [[], [1], [1, 2, 3, 4, 5], [9, 7, 5, 3]])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_of_a_list_make_up_the_list(items: list[int], size: int) -> None:
    seen: list[int] = []
    page = list_page(items, size)
    seen += page.items
    while page.next_token:
        page = list_page(items, size, page.next_token)
        seen += page.items

    assert seen == items


def test_a_list_that_grew_goes_on_where_it_was() -> None:
    page = list_page([1, 2, 3], 2)

    assert list_page([1, 2, 3, 4], 2, page.next_token) == Page([3, 4], "")
