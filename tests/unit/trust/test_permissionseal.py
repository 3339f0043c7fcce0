"""Who may do what cannot be changed in the database behind the region's back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import permutations

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from support.postgres import temporary_schema
from support.requests import AUTHORITY
from support.small_region import OTHER_TYPE, SmallRegion
from yinxin_ca.keystore import Purpose
from yinxin_edge.database_error import UniqueError
from yinxin_proto.error import FailedPreconditionError, IntegrityError
from yinxin_proto.scope import TypeScope
from yinxin_proto.suite import ES256
from yinxin_trust import schema
from yinxin_trust.access import EXCLUSIVE, Role
from yinxin_trust.liveidentity import peer_anchors
from yinxin_trust.permissionseal import SETTING, PermissionSeal
from yinxin_trust.storage import get_setting, put_setting
from yinxin_trust.trust_check import TrustCheck
from yinxin_trust.trustlisting import scopes_json

_p, _r, _k = schema.principal.c, schema.role_assignment.c, schema.authority_key.c
_v = schema.key_version.c


@pytest.fixture(scope="module")
def small() -> Iterator[SmallRegion]:
    with SmallRegion.found() as made:
        with made.region.storage.write() as conn:
            made.region.registrar.add_principal(conn, principal_id="clerk", display_name="虚构科员")
            made.region.registrar.assign(conn, "clerk", Role.REGISTRAR, by="test")
            made.region.registrar.withdraw(conn, "clerk", Role.REGISTRAR, by="test")
        yield made


def _grant(conn: Connection) -> None:
    conn.execute(
        insert(schema.role_assignment).values(
            principal_id="clerk", role="issuer", assigned_by="@console", assigned_ms=1
        )
    )


def _revive(conn: Connection) -> None:
    """The old row of a role, before it was withdrawn."""
    conn.execute(
        update(schema.role_assignment)
        .where(_r.principal_id == "clerk")
        .values(withdrawn_ms=None, withdrawn_by=None)
    )


def _remove_withdrawal(conn: Connection) -> None:
    conn.execute(delete(schema.role_assignment).where(_r.principal_id == "clerk"))


def _enable(conn: Connection) -> None:
    conn.execute(update(schema.principal).values(authority_code=AUTHORITY))


def _widen(conn: Connection) -> None:
    scopes = scopes_json((TypeScope(type=OTHER_TYPE, not_before=0),))
    conn.execute(update(schema.authority).values(types=scopes))


def _unseal(conn: Connection) -> None:
    conn.execute(delete(schema.setting).where(schema.setting.c.name == SETTING))


def _plant_ca(conn: Connection) -> None:
    """An intruder's own TLS CA among those of the past."""
    row = conn.execute(select(schema.key_version).where(_v.purpose == "tls-ca")).one()
    planted = {**row._mapping, "version": 9, "stage": "retired", "thumbprint": bytes(32)}
    conn.execute(insert(schema.key_version).values(planted))


def _swap_ca(conn: Connection) -> None:
    other = select(_v.chain).where(_v.purpose == "member-ca").scalar_subquery()
    conn.execute(update(schema.key_version).where(_v.purpose == "tls-ca").values(chain=other))


def _stage(conn: Connection) -> None:
    conn.execute(update(schema.key_version).where(_v.purpose == "tls-ca").values(stage="retired"))


ATTACKS = (
    _grant,
    _revive,
    _remove_withdrawal,
    _enable,
    _widen,
    _unseal,
    _plant_ca,
    _swap_ca,
    _stage,
)


class UndoneError(Exception):
    """Nothing of an attack stays for the next test."""


@contextmanager
def _undone(small: SmallRegion) -> Iterator[Connection]:
    with suppress(UndoneError), small.region.storage.database.write() as conn:
        yield conn
        raise UndoneError


@pytest.mark.parametrize("attack", ATTACKS)
def test_altered_permissions_serve_nobody(
    small: SmallRegion, attack: Callable[[Connection], None]
) -> None:
    with _undone(small) as conn:
        attack(conn)
        put_setting(conn, "directory_version", "999")
        with pytest.raises(IntegrityError) as refused:
            small.region.directory.snapshot(conn)
        assert refused.value.reason == "PERMISSIONS"


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_later_change_does_not_seal_them(
    small: SmallRegion, attack: Callable[[Connection], None]
) -> None:
    def change_over_it() -> None:
        with small.region.storage.write() as conn:
            attack(conn)
            small.region.registrar.assign(conn, "clerk", Role.AUDITOR, by="test")

    with pytest.raises(IntegrityError) as refused:
        change_over_it()
    assert refused.value.reason == "PERMISSIONS"


def test_a_planted_authority_lets_nobody_in(small: SmallRegion) -> None:
    """Neither at a worker's start nor when it looks again before a handshake."""
    region = small.region
    assert peer_anchors(region)[region.namespace.domain]
    with region.storage.database.write() as conn:
        _plant_ca(conn)
    try:
        with pytest.raises(IntegrityError) as refused:
            peer_anchors(region)
        assert refused.value.reason == "PERMISSIONS"
    finally:
        with region.storage.database.write() as conn:
            conn.execute(delete(schema.key_version).where(_v.version == 9))


def test_an_older_state_of_the_records_is_not_sealed_as_the_newer(small: SmallRegion) -> None:
    """Rows and seal of before a withdrawal, under the present version."""
    region = small.region
    with region.storage.write() as conn:
        region.registrar.assign(conn, "clerk", Role.VERIFIER, by="test")
    with region.storage.read() as conn:
        old_seal = get_setting(conn, SETTING)
        rows = [dict(row._mapping) for row in conn.execute(select(schema.role_assignment))]
    with region.storage.write() as conn:
        region.registrar.withdraw(conn, "clerk", Role.VERIFIER, by="test")
    with _undone(small) as conn:
        conn.execute(delete(schema.role_assignment))
        conn.execute(insert(schema.role_assignment), rows)
        put_setting(conn, SETTING, str(old_seal))
        with pytest.raises(IntegrityError):
            PermissionSeal(region.keyring.integrity_key()).check(conn)


def test_who_has_the_online_keys_still_cannot_add_a_scope_or_an_approval_key(
    small: SmallRegion,
) -> None:
    region = small.region
    seal = PermissionSeal(region.keyring.integrity_key())
    with region.storage.read() as conn:
        assert [*TrustCheck(conn=conn, seal=seal).findings()] == []
    for attack, code in ((_widen, "TRUST_SCOPE"), (_approve_one, "TRUST_KEY")):
        with _undone(small) as conn:
            attack(conn)
            seal.renew(conn)
            codes = {finding.code for finding in TrustCheck(conn=conn, seal=seal).findings()}
            assert codes == {code}


def _approve_one(conn: Connection) -> None:
    """An approval key of the intruder's own, in an authority's place."""
    key = ES256.generate().public_key
    conn.execute(
        update(schema.authority_key)
        .where(_k.purpose == "approval", _k.authority_code == AUTHORITY)
        .values(spki=key.spki, thumbprint=key.thumbprint)
    )


PAIRS = list(permutations(sorted(EXCLUSIVE), 2))


@pytest.mark.parametrize(("held", "wanted"), PAIRS)
def test_no_principal_has_two_of_the_exclusive_roles(
    small: SmallRegion, held: Role, wanted: Role
) -> None:
    with _undone(small) as conn:
        small.region.registrar.assign(conn, "clerk", held, by="test")
        with pytest.raises(FailedPreconditionError) as refused:
            small.region.registrar.assign(conn, "clerk", wanted, by="test")
        assert refused.value.reason == "ROLE_EXCLUSIVE"


@pytest.mark.parametrize(("held", "wanted"), PAIRS)
def test_the_database_itself_keeps_them_apart(small: SmallRegion, held: Role, wanted: Role) -> None:
    def assign_both() -> None:
        with small.region.storage.write() as conn:
            for role in (held, wanted):
                values = {"role": role.value, "assigned_by": "intruder", "assigned_ms": 2}
                conn.execute(insert(schema.role_assignment).values(principal_id="clerk", **values))

    with pytest.raises(UniqueError):
        assign_both()


@pytest.mark.postgres
def test_two_who_change_the_records_at_once_are_no_intruders() -> None:
    """Each sees what the other committed meanwhile: seal and rows must be of one moment."""
    with temporary_schema() as url, SmallRegion.found(url) as small:
        region = small.region
        with region.storage.write() as conn:
            region.registrar.add_principal(conn, principal_id="clerk", display_name="虚构科员")

        def rotate() -> None:
            for purpose in (Purpose.KEK, Purpose.STATUS, Purpose.OCSP, Purpose.TLS_SERVER):
                region.rotation().prepare(region.namespace.code, purpose)

        def appoint(principal: str) -> None:
            with region.storage.write() as conn:
                region.registrar.add_principal(
                    conn, principal_id=principal, display_name="虚构科员"
                )
            for _ in range(10):
                with region.storage.write() as conn:
                    region.registrar.assign(conn, principal, Role.AUDITOR, by="test")
                with region.storage.write() as conn:
                    # As whoever issues does, within the transaction that stores.
                    region.directory.snapshot(conn)
                    region.registrar.withdraw(conn, principal, Role.AUDITOR, by="test")

        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(rotate), *(pool.submit(appoint, one) for one in ("jia", "yi"))]
            for one in done:
                one.result()
        with region.storage.read() as conn:
            PermissionSeal(region.keyring.integrity_key()).check(conn)
