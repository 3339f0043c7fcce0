"""The inventory of keys leaves none out, and names runbooks that are there."""

from __future__ import annotations

from pathlib import Path

from yinxin_ca.keystore import Purpose
from yinxin_trust.keycatalogue import KEYS, Keeper, keys_table
from yinxin_trust.keyring import OFFLINE, ONLINE

RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks"


def test_every_purpose_is_in_the_inventory() -> None:
    assert set(KEYS) == set(Purpose)


def test_the_inventory_says_where_the_keyring_keeps_them() -> None:
    assert all(KEYS[purpose].keeper is Keeper.OFFLINE for purpose in OFFLINE)
    assert all(KEYS[purpose].keeper is Keeper.ONLINE for purpose in ONLINE)


def test_every_runbook_that_is_named_is_there() -> None:
    assert [use.theft for use in KEYS.values() if not (RUNBOOKS / use.theft).exists()] == []


def test_the_table_has_one_row_for_each() -> None:
    assert keys_table().count("\n| `") == len(Purpose)
