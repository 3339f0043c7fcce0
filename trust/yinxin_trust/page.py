"""Pages of a list (AIP-158): where the next one begins, sealed against change.

A token holds a place in an order (a moment and a random reference) and a tag
over it and the query: it cannot be altered, nor used for another query, and
says nothing about whom the list is about.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, and_, or_

from yinxin_proto.error import InvalidArgumentError, MalformedError, Violation
from yinxin_proto.strict import Json, b64url_decode, b64url_encode, canonical_json

DEFAULT_SIZE: Final = 50
MAX_SIZE: Final = 1000
_MOMENT_BYTES: Final = 8
_TAG_BYTES: Final = 16
_MAX_TOKEN_BYTES: Final = 128

T = TypeVar("T")


class Cursor(NamedTuple):
    """A place in a list: the last item that was shown."""

    position: int
    """What the list is ordered by: mostly Unix milliseconds."""
    ref: bytes = b""
    """Tells items of one position apart."""


class Page(NamedTuple, Generic[T]):
    """Some items, and the token of the next page; empty on the last."""

    items: list[T]
    next_token: str


def page_size_of(asked: int) -> int:
    """Return the size that a caller gets: 50 for 0, never more than 1,000.

    Raises:
        InvalidArgumentError: It is negative (``PAGE_SIZE``).
    """
    if asked < 0:
        raise InvalidArgumentError(
            "the page cannot be listed",
            violations=[Violation("page_size", "0 or more; 0 means 50", "PAGE_SIZE")],
        )
    return min(asked, MAX_SIZE) or DEFAULT_SIZE


def older(
    moment: ColumnElement[int], ref: ColumnElement[bytes], than: Cursor
) -> ColumnElement[bool]:
    """Return the condition for the rest of a list that is ordered newest first."""
    return or_(moment < than.position, and_(moment == than.position, ref < than.ref))


def newer(
    moment: ColumnElement[int], ref: ColumnElement[bytes], than: Cursor
) -> ColumnElement[bool]:
    """Return the condition for the rest of a list that is ordered oldest first."""
    return or_(moment > than.position, and_(moment == than.position, ref > than.ref))


class PageTokens:
    """Makes and reads page tokens.

    Args:
        keys: Returns the keys of the tags: the first makes them, the others
            made some that may come back. Every process of a region has the same.
    """

    def __init__(self, *, keys: Callable[[], Sequence[bytes]]) -> None:
        self._keys = keys

    def page(
        self, found: Sequence[T], size: int, query: Json, cursor_of: Callable[[T], Cursor]
    ) -> Page[T]:
        """Cut what was found, one more than ``size`` if there is more, into a page."""
        items = list(found[:size])
        more = len(found) > size
        return Page(items, self.issue(cursor_of(items[-1]), query) if more else "")

    def of_list(
        self,
        items: Sequence[T],
        *,
        position_of: Callable[[T], int],
        query: Json,
        page_size: int,
        page_token: str,
    ) -> Page[T]:
        """Return one page of a short list that is at hand.

        Raises:
            InvalidArgumentError: A page size or token that is not acceptable.
        """
        size = page_size_of(page_size)
        cursor = self.read(page_token, query)
        rest = items
        if cursor is not None:
            shown = [i for i, item in enumerate(items) if position_of(item) == cursor.position]
            rest = items[shown[-1] + 1 :] if shown else []
        return self.page(rest, size, query, lambda item: Cursor(position_of(item)))

    def issue(self, cursor: Cursor, query: Json) -> str:
        """Return the token of the page after ``cursor``."""
        place = cursor.position.to_bytes(_MOMENT_BYTES, "big", signed=True) + cursor.ref
        return b64url_encode(place + _tag(self._keys()[0], place, query))

    def read(self, token: str, query: Json) -> Cursor | None:
        """Return the place that a token names; None for the empty one.

        Raises:
            InvalidArgumentError: Altered, or of another query (``PAGE_TOKEN``).
        """
        if not token:
            return None
        try:
            raw = b64url_decode(token, max_bytes=_MAX_TOKEN_BYTES)
        except MalformedError:
            raw = b""
        place, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if len(place) < _MOMENT_BYTES or not self._is_ours(tag, place, query):
            raise InvalidArgumentError(
                "the page cannot be listed",
                violations=[
                    Violation(
                        "page_token",
                        "not a token of this list; leave it empty and begin anew",
                        "PAGE_TOKEN",
                    )
                ],
            )
        position = int.from_bytes(place[:_MOMENT_BYTES], "big", signed=True)
        return Cursor(position, place[_MOMENT_BYTES:])

    def _is_ours(self, tag: bytes, place: bytes, query: Json) -> bool:
        return any(hmac.compare_digest(tag, _tag(key, place, query)) for key in self._keys())


def _tag(key: bytes, place: bytes, query: Json) -> bytes:
    message = sha256(canonical_json(query)).digest() + place
    return hmac.digest(key, message, "sha256")[:_TAG_BYTES]
