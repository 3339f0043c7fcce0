"""The table of suites."""

from __future__ import annotations

import pytest

from yinxin_proto.error import ConfigurationError
from yinxin_proto.suite import ES256, names, suite


def test_a_suite_is_found_by_its_name() -> None:
    assert suite("ES256") is ES256
    assert "ES256" in names()


def test_every_suite_is_listed_under_its_own_name() -> None:
    assert [suite(name).name for name in names()] == list(names())


@pytest.mark.parametrize("name", ["", "es256", "none", "HS256", "RS256"])
def test_an_unknown_suite_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigurationError, match="ES256") as caught:
        suite(name)
    assert caught.value.reason == "UNKNOWN_SUITE"


def test_a_key_belongs_to_the_registered_suite() -> None:
    assert ES256.generate().public_key.suite is suite("ES256")
