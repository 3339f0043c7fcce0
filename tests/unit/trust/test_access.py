"""Principals: roles are asked for one by one, and some exclude each other."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from support.requests import AUTHORITY, OTHER_AUTHORITY
from support.small_region import SmallRegion
from yinxin_proto.error import FailedPreconditionError, NotFoundError, PermissionDeniedError
from yinxin_trust.access import EXCLUSIVE, Principal, Role, check_exclusive

CALLER = Principal("window-1", "虚构窗口", AUTHORITY, frozenset({Role.ISSUER, Role.VERIFIER}), True)


def test_one_of_the_accepted_roles_is_enough() -> None:
    CALLER.require(Role.ISSUER)
    CALLER.require(Role.AUDITOR, Role.VERIFIER)


@pytest.mark.parametrize("role", [role for role in Role if role not in CALLER.roles])
def test_another_role_is_refused_and_named(role: Role) -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        CALLER.require(role)

    assert caught.value.reason == "ROLE"
    assert role.value in caught.value.message


def test_a_disabled_principal_has_no_role_at_all() -> None:
    disabled = dataclasses.replace(CALLER, enabled=False)

    for roles in ((Role.ISSUER,), ()):
        with pytest.raises(PermissionDeniedError) as caught:
            disabled.require(*roles)
        assert caught.value.reason == "PRINCIPAL_DISABLED"


@pytest.mark.parametrize("acts_for", [None, OTHER_AUTHORITY, ""])
def test_a_principal_acts_for_its_own_authority_alone(acts_for: str | None) -> None:
    CALLER.require_authority(AUTHORITY)

    with pytest.raises(PermissionDeniedError) as caught:
        dataclasses.replace(CALLER, authority_code=acts_for).require_authority(AUTHORITY)
    assert caught.value.reason == "AUTHORITY"


@pytest.mark.parametrize("pair", list(itertools.combinations(sorted(EXCLUSIVE), 2)))
def test_those_who_act_are_not_those_who_check(pair: tuple[Role, Role]) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        check_exclusive({*pair, Role.VERIFIER})
    assert caught.value.reason == "ROLE_EXCLUSIVE"


def test_one_exclusive_role_goes_with_ordinary_ones() -> None:
    check_exclusive({Role.AUDITOR, Role.VERIFIER, Role.ISSUER})
    check_exclusive(set())


def test_an_assigned_role_counts_at_the_next_call_and_a_withdrawn_one_no_more(
    small: SmallRegion,
) -> None:
    region = small.region
    with region.storage.write() as conn:
        region.registrar.add_principal(conn, principal_id="clerk", display_name="虚构窗口")

    def clerk() -> Principal:
        with region.storage.read() as conn:
            return region.directory.snapshot(conn).principal("clerk")

    assert clerk().roles == frozenset()
    with region.storage.write() as conn:
        region.registrar.assign(conn, "clerk", Role.VERIFIER, by="test")
    clerk().require(Role.VERIFIER)
    with region.storage.write() as conn:
        region.registrar.withdraw(conn, "clerk", Role.VERIFIER, by="test")
    with pytest.raises(PermissionDeniedError):
        clerk().require(Role.VERIFIER)


def test_exclusive_roles_cannot_be_assigned_one_after_the_other(small: SmallRegion) -> None:
    region = small.region
    with region.storage.write() as conn:
        region.registrar.add_principal(conn, principal_id="both", display_name="虚构管理员")
        region.registrar.assign(conn, "both", Role.SYSTEM_ADMINISTRATOR, by="test")

    with region.storage.write() as conn, pytest.raises(FailedPreconditionError):
        region.registrar.assign(conn, "both", Role.SECURITY_ADMINISTRATOR, by="test")


def test_nobody_unknown_is_a_principal(small: SmallRegion) -> None:
    region = small.region
    with region.storage.read() as conn, pytest.raises(PermissionDeniedError) as caught:
        region.directory.snapshot(conn).principal("nobody")
    assert caught.value.reason == "PRINCIPAL_UNKNOWN"

    with region.storage.write() as conn, pytest.raises(NotFoundError):
        region.registrar.assign(conn, "nobody", Role.VERIFIER, by="test")
