"""Licence identifiers: exact inverses, and every slip noticed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from yinxin_proto.checkdigit import ALPHANUMERIC
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.identifier import LicenceIdentifier, of_body, parse


def words(least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(ALPHANUMERIC, min_size=least, max_size=most)


IDENTIFIERS = st.builds(
    lambda type_, issuer, serial, version: of_body(f"{type_}.{issuer}.{serial}", version),
    words(21, 21),
    words(1, 32),
    words(1, 64),
    st.integers(1, 999),
)


@given(IDENTIFIERS)
def test_what_is_written_is_parsed(identifier: LicenceIdentifier) -> None:
    assert parse(str(identifier)) == identifier
    assert identifier.check_matches


@given(IDENTIFIERS, st.data())
def test_one_wrong_character_is_noticed(identifier: LicenceIdentifier, data: st.DataObject) -> None:
    text = str(identifier)
    place = data.draw(st.integers(0, len(text) - 1))
    wrong = data.draw(st.sampled_from(ALPHANUMERIC + "."))
    assume(wrong != text[place])
    with pytest.raises(InvalidArgumentError):
        parse(text[:place] + wrong + text[place + 1 :])


@given(IDENTIFIERS, st.sampled_from(ALPHANUMERIC))
def test_a_wrong_check_character_is_reported_as_that(
    identifier: LicenceIdentifier, check: str
) -> None:
    found = parse(str(identifier)[:-1] + check, allow_wrong_check=True)
    assert found.check_matches == (check == identifier.check)
    assert found.computed_check == identifier.check


@given(st.text(max_size=120) | st.text(ALPHANUMERIC + ".", max_size=120))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for candidate in (text, f"1.2.156.3005.2.{text}"):
        with suppress(InvalidArgumentError):
            assert str(parse(candidate, allow_wrong_check=True)) == candidate
