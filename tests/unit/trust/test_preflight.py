"""The check before serving: each contradiction is found, and all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from sqlalchemy import ColumnElement, Executable, Table, Update, delete, insert, select, update

from support.log_region import (
    ORIGIN,
    LogRegion,
    entries,
    entry,
    note_signer,
    note_verifier,
    open_storage,
)
from support.requests import AUTHORITY, LICENCE_TYPE
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.checkpoint import parse as parse_checkpoint
from yinxin_proto.error import IntegrityError
from yinxin_proto.identifier import of_body
from yinxin_proto.leaf import StatusChangeLeaf
from yinxin_proto.note import NoteSigner, NoteVerifier
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, USES
from yinxin_trust.preflight import QUICK_TAIL, PreflightReport, preflight
from yinxin_trust.transition import STATUS_VALUES, Operation, State, row_of

SIZE = 600
e, t, li = schema.log_entry, schema.log_tile, schema.licence
LOGS = {LICENCES: note_verifier()}


@pytest.fixture
def region() -> Iterator[LogRegion]:
    """599 licences, the last of them suspended, all logged and signed."""
    with open_storage("sqlite://") as storage:
        region = LogRegion(storage, whole=True)
        _add_licences(region, range(SIZE - 1))
        suspended = _add_event(region, SIZE - 2)
        region.queue([*entries(SIZE - 1), suspended])
        region.sequencer().run_once()
        yield region


def _ref(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _write(region: LogRegion, *statements: Executable) -> None:
    with region.storage.write() as conn:
        for statement in statements:
            conn.execute(statement)


def _filled(table: Table, **values: object) -> dict[str, object]:
    """A row that says nothing but ``values``."""
    blank: dict[type, object] = {bytes: bytes(32), int: 0, str: ""}
    required = [column for column in table.columns if not column.nullable]
    return {column.key: blank[column.type.python_type] for column in required} | values


def _add_licences(region: LogRegion, numbers: Iterable[int]) -> None:
    licences = [
        _filled(
            schema.licence,
            subject_ref=_ref(number),
            licence_ref=_ref(number),
            serial=str(number),
            type_code=LICENCE_TYPE,
            issuer_code=AUTHORITY,
            revision=1,
            generation=1,
            state="valid",
            status_list=1,
            status_idx=number,
            entry=entry(number),
        )
        for number in numbers
    ]
    claims = [{"list_number": 1, "idx": row["status_idx"], "value": 0} for row in licences]
    with region.storage.write() as conn:
        conn.execute(insert(schema.licence), licences)
        conn.execute(insert(schema.status_index), claims)


def _add_event(
    region: LogRegion, of_licence: int, operation: Operation = Operation.SUSPEND
) -> bytes:
    """Suspend, or otherwise change, a valid licence; return the entry that it makes."""
    ref, done = _ref(of_licence), row_of(operation)
    leaf = StatusChangeLeaf(
        identifier=str(of_body(f"{LICENCE_TYPE}.{AUTHORITY}.{of_licence}", 1)),
        from_state="valid",
        to_state=done.target.value,
        operation=operation.value,
        reason_code=None,
        effective_time=0,
        operator_certificate_hash=None,
        approval_hash=None,
        prior_index=None,
    )
    event = _filled(
        schema.licence_event,
        subject_ref=ref,
        licence_ref=ref,
        generation=2,
        revision=1,
        from_state="valid",
        to_state=done.target.value,
        operation=operation.value,
        entry=leaf.entry(bytes(32)),
    )
    status = schema.status_index
    change = update(li).where(li.c.licence_ref == ref)
    _write(
        region,
        insert(schema.licence_event).values(event),
        change.values(state=done.target.value, generation=2),
    )
    if done.target is not State.EXPIRED:
        value = int(STATUS_VALUES[done.target])
        _write(region, update(status).where(status.c.idx == of_licence).values(value=value))
    return leaf.entry(bytes(32))


def _examine(region: LogRegion, *, full: bool = True) -> PreflightReport:
    return preflight(region.storage, logs=LOGS, full=full)


def _codes(region: LogRegion, *, full: bool = True) -> set[str]:
    return {finding.code for finding in _examine(region, full=full).findings}


@pytest.mark.parametrize("full", [False, True])
def test_what_the_service_wrote_is_sound(region: LogRegion, full: bool) -> None:
    region.queue([entry(SIZE)])
    _add_licences(region, [SIZE])
    report = _examine(region, full=full)
    assert report == PreflightReport(full=full, findings=())
    assert report.sound
    report.require_sound()


@pytest.mark.parametrize("full", [False, True])
def test_an_empty_region_is_sound(full: bool) -> None:
    with open_storage("sqlite://") as storage:
        assert _examine(LogRegion(storage, whole=True), full=full).sound


def test_a_head_committed_but_not_signed_is_sound(region: LogRegion) -> None:
    _add_licences(region, [SIZE])
    region.queue([entry(SIZE)])
    region.sequencer()._place()
    assert _examine(region).sound


def _tamper_head(**columns: object) -> Update:
    return update(schema.log_head).values(**columns)


def _tile(level: int, index: int) -> ColumnElement[bool]:
    return (t.c.level == level) & (t.c.tile_index == index)


def _tamper_tile(level: int, index: int, hashes: bytes) -> Update:
    return update(t).where(_tile(level, index)).values(hashes=hashes)


def _signed(size: int, root: bytes, signer: NoteSigner | None = None) -> bytes:
    signer = signer or note_signer()
    return Checkpoint(origin=signer.vkey.name, size=size, root=root).sign([signer])


OTHER_KEY = NoteSigner(name=ORIGIN, key=bytes(32))
Attack = tuple[Executable, set[str]]

QUICK_ATTACKS: dict[str, Attack] = {
    "a log is gone": (delete(schema.log_head), {"LOG_MISSING"}),
    "a log without a key": (
        insert(schema.log_head).values(
            log_number=USES,
            origin="example.org/log/350300/uses/1",
            epoch=0,
            size=0,
            root=bytes(32),
            signed_size=0,
            checkpoint=b"",
        ),
        {"LOG_UNKNOWN"},
    ),
    "another origin": (_tamper_head(origin="example.org/log/1/licences/1"), {"ORIGIN"}),
    "another root": (_tamper_head(root=bytes(32)), {"HEAD_ROOT"}),
    "a head set back": (
        _tamper_head(size=SIZE - 1),
        {"LOG_ROLLED_BACK", "HEAD_ROOT", "ENTRY_INDEX", "TILE_WIDTH"},
    ),
    "a head set forward": (
        _tamper_head(size=SIZE + 1),
        {"TILE_SIZE", "ENTRY_INDEX", "TILE_WIDTH"},
    ),
    "no checkpoint": (_tamper_head(checkpoint=b""), {"CHECKPOINT"}),
    "another key's checkpoint": (
        _tamper_head(checkpoint=_signed(SIZE, bytes(32), OTHER_KEY)),
        {"CHECKPOINT"},
    ),
    "a checkpoint of another root": (
        _tamper_head(checkpoint=_signed(SIZE, bytes(32))),
        {"CHECKPOINT_ROOT"},
    ),
    "a checkpoint of another size": (_tamper_head(signed_size=SIZE - 1), {"CHECKPOINT_SIZE"}),
    "leases lost": (delete(schema.lease), {"LEASE_EPOCH"}),
    "an edge tile gone": (
        delete(t).where(_tile(0, 2)),
        {"TILE", "TILE_SET"},
    ),
    "an inner tile gone": (
        delete(t).where(_tile(0, 1)),
        {"TILE", "TILE_SET"},
    ),
    "a tile too many": (
        insert(t).values(log_number=LICENCES, level=0, tile_index=3, hashes=bytes(32)),
        {"TILE_SET"},
    ),
    "a level too many": (
        insert(t).values(log_number=LICENCES, level=2, tile_index=0, hashes=bytes(32)),
        {"TILE_SET"},
    ),
    "a tile too short": (
        _tamper_tile(0, 2, bytes(32)),
        {"TILE_SIZE", "TILE_WIDTH", "TILE_LEAF"},
    ),
    "an inner tile of other leaves": (
        _tamper_tile(0, 1, bytes(256 * 32)),
        {"TILE_LEAF", "TILE_NODE"},
    ),
    "a higher tile of other nodes": (
        _tamper_tile(1, 0, bytes(64)),
        {"HEAD_ROOT", "CHECKPOINT_ROOT", "TILE_NODE"},
    ),
    "an entry gone": (delete(e).where(e.c.idx == 300), {"ENTRY_INDEX"}),
    "the last entry gone": (delete(e).where(e.c.idx == SIZE - 1), {"ENTRY_INDEX"}),
    "an entry exchanged": (
        update(e).where(e.c.idx == 300).values(entry=bytes(32)),
        {"TILE_LEAF", "ENTRY_ORPHAN"},
    ),
    "an entry beyond the head": (
        insert(e).values(log_number=LICENCES, entry=bytes(32), idx=SIZE, queued_ms=0),
        {"ENTRY_INDEX", "ENTRY_ORPHAN"},
    ),
    "an entry that nothing stands behind": (
        insert(e).values(log_number=LICENCES, entry=bytes(32), idx=None, queued_ms=0),
        {"ENTRY_ORPHAN"},
    ),
    "an event gone": (delete(schema.licence_event), {"ENTRY_ORPHAN", "STATE"}),
    "an event that says something else": (
        update(schema.licence_event).values(operation="freeze"),
        {"EVENT_LEAF"},
    ),
    "an event to another state": (
        update(schema.licence_event).values(to_state="frozen"),
        {"EVENT_LEAF", "STATE"},
    ),
    "a suspended licence made valid": (
        update(li).where(li.c.state == "suspended").values(state="valid"),
        {"STATE", "STATUS_VALUE"},
    ),
    "a suspended licence made valid as if nothing had happened": (
        update(li).where(li.c.state == "suspended").values(state="valid", generation=1),
        {"STATE", "STATUS_VALUE"},
    ),
    "a suspended licence whose status says valid": (
        update(schema.status_index).where(schema.status_index.c.value == 2).values(value=0),
        {"STATUS_VALUE"},
    ),
}

FULL_ATTACKS: dict[str, Attack] = {
    "a licence never logged": (
        delete(e).where(e.c.entry == entry(5)),
        {"NOT_LOGGED", "ENTRY_INDEX"},
    ),
    "an event never logged": (
        update(schema.licence_event).values(entry=bytes(32)),
        {"NOT_LOGGED", "ENTRY_ORPHAN", "EVENT_LEAF"},
    ),
    "two licences of one entry": (
        update(li).where(li.c.serial == "5").values(entry=entry(6)),
        {"ENTRY_SHARED", "ENTRY_ORPHAN"},
    ),
    "a status index never claimed": (
        delete(schema.status_index).where(schema.status_index.c.idx == 5),
        {"STATUS_UNCLAIMED"},
    ),
    "one status index for two": (
        update(li).where(li.c.serial == "5").values(status_idx=6),
        {"STATUS_SHARED"},
    ),
    "a revoked licence whose status says valid": (
        update(li).where(li.c.serial == "5").values(state="revoked"),
        {"STATE", "STATUS_VALUE"},
    ),
    "a valid licence whose status says invalid": (
        update(schema.status_index).where(schema.status_index.c.idx == 5).values(value=1),
        {"STATUS_VALUE"},
    ),
    "a state that is none": (
        update(li).where(li.c.serial == "5").values(state="lapsed"),
        {"STATE", "STATUS_VALUE"},
    ),
}


@pytest.mark.parametrize("attack", QUICK_ATTACKS)
def test_the_quick_examination_finds(region: LogRegion, attack: str) -> None:
    statement, codes = QUICK_ATTACKS[attack]
    _write(region, statement)
    assert _codes(region, full=False) == codes
    # The full one finds that and may find more.
    assert _codes(region) >= codes


@pytest.mark.parametrize("attack", FULL_ATTACKS)
def test_the_full_examination_finds(region: LogRegion, attack: str) -> None:
    statement, codes = FULL_ATTACKS[attack]
    _write(region, statement)
    assert _codes(region) == codes


def test_an_expired_licence_keeps_whatever_status_it_had(region: LogRegion) -> None:
    over = [_add_event(region, number, Operation.EXPIRE) for number in (3, 4)]
    region.queue(over)
    _write(
        region, update(schema.status_index).where(schema.status_index.c.idx == 4).values(value=2)
    )
    assert _examine(region).sound


@pytest.mark.parametrize("full", [False, True])
def test_a_change_that_waits_for_its_place_is_sound(region: LogRegion, full: bool) -> None:
    region.queue([_add_event(region, 7, Operation.REVOKE)])
    assert _examine(region, full=full).sound


@pytest.mark.parametrize("full", [False, True])
def test_a_revocation_taken_back_in_both_tables_is_found(region: LogRegion, full: bool) -> None:
    region.queue([_add_event(region, 7, Operation.REVOKE)])
    region.sequencer().run_once()
    _write(
        region,
        update(li).where(li.c.serial == "7").values(state="valid"),
        update(schema.status_index).where(schema.status_index.c.idx == 7).values(value=0),
    )
    assert _codes(region, full=full) == {"STATE"}


def test_everything_that_is_wrong_is_said_at_once(region: LogRegion) -> None:
    for statement, _ in (
        QUICK_ATTACKS["another root"],
        QUICK_ATTACKS["leases lost"],
        QUICK_ATTACKS["an event gone"],
        FULL_ATTACKS["one status index for two"],
    ):
        _write(region, statement)
    report = _examine(region)
    codes = {"HEAD_ROOT", "LEASE_EPOCH", "ENTRY_ORPHAN", "STATUS_SHARED", "STATE"}
    assert {finding.code for finding in report.findings} == codes
    assert not report.sound
    with pytest.raises(IntegrityError) as caught:
        report.require_sound()
    assert caught.value.reason == "PREFLIGHT"
    assert {violation.reason for violation in caught.value.violations} == codes


def test_the_quick_examination_reads_the_tail_alone() -> None:
    with open_storage("sqlite://") as storage:
        region = LogRegion(storage, whole=True)
        region.queue(entries(QUICK_TAIL + 1000))
        region.sequencer().run_once()
        with storage.write() as conn:
            conn.execute(_tamper_tile(0, 0, bytes(256 * 32)))
        codes = _codes(region, full=False) - {"ENTRY_ORPHAN"}
        assert codes == set()
        assert _codes(region) >= {"TILE_LEAF", "TILE_NODE"}


def test_a_region_restored_from_an_older_state_is_found_by_what_others_hold(
    region: LogRegion,
) -> None:
    newer = parse_checkpoint(_signed(SIZE + 1, bytes(32))).verify(note_verifier())
    report = preflight(region.storage, logs=LOGS, known=[newer])
    assert [finding.code for finding in report.findings] == ["LOG_BEHIND"]


def test_a_log_that_others_know_differently_is_found(region: LogRegion) -> None:
    other = parse_checkpoint(_signed(300, bytes(32))).verify(note_verifier())
    report = preflight(region.storage, logs=LOGS, known=[region.signed(), other])
    assert [finding.code for finding in report.findings] == ["LOG_FORKED"]


def test_what_others_hold_of_other_logs_says_nothing(region: LogRegion) -> None:
    signer = NoteSigner(name="example.org/log/350300/uses/1", key=bytes(32))
    note = parse_checkpoint(_signed(SIZE + 1, bytes(32), signer))
    other = note.verify(NoteVerifier(signer.vkey))
    assert preflight(region.storage, logs=LOGS, known=[other]).sound


def test_nothing_is_written(region: LogRegion) -> None:
    with region.storage.read() as conn:
        before = [tuple(row) for row in conn.execute(select(schema.log_head))]
    _examine(region)
    with region.storage.read() as conn:
        assert [tuple(row) for row in conn.execute(select(schema.log_head))] == before


@pytest.mark.timeout(30)
@pytest.mark.parametrize("full", [False, True])
def test_a_head_that_claims_far_more_than_there_is_is_found_soon(
    region: LogRegion, full: bool
) -> None:
    _write(region, _tamper_head(size=1 << 48))
    assert {"ENTRY_INDEX", "TILE"} <= _codes(region, full=full)
