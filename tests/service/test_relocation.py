"""Moving a region between databases: all of it, once, and never two that are live."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, update

from support.postgres import temporary_schema
from support.small_region import SmallRegion
from yinxin_edge.clock import SystemEntropy
from yinxin_edge.database import Database
from yinxin_edge.lease import LeaseOffice
from yinxin_proto.error import (
    AlreadyExistsError,
    ConfigurationError,
    FailedPreconditionError,
    IntegrityError,
)
from yinxin_trust import schema
from yinxin_trust.relocation import MARK, Relocated, Relocation, require_home
from yinxin_trust.sequencer import lease_name
from yinxin_trust.soundness import Soundness
from yinxin_trust.storage import Storage, get_setting

HOLDER = "this directory"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def target_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/new.db"
    else:
        with temporary_schema() as url:
            yield url


@pytest.fixture
def small() -> Iterator[SmallRegion]:
    with SmallRegion.found() as found:
        found.issue_one()
        found.region.sequence()
        found.issue_one()
        yield found


@contextmanager
def _opened(url: str) -> Iterator[Storage]:
    with closing(Storage(Database.open(url))) as storage:
        yield storage


def _relocation(small: SmallRegion, target: Storage, folder: Path) -> Relocation:
    soundness = Soundness(keyring=small.region.keyring, directory=folder)
    # The fixture sequenced in this process: its lease runs out first.
    small.clock.advance(timedelta(minutes=1))
    return Relocation(
        source=small.region.storage,
        target=target,
        holder=HOLDER,
        check=lambda storage: soundness.examine(storage, full=True).require_sound(),
        clock=small.clock,
        entropy=SystemEntropy(),
    )


def _counts(storage: Storage) -> dict[str, int]:
    with storage.read() as conn:
        return {
            table.name: conn.execute(select(func.count()).select_from(table)).scalar_one()
            for table in schema.metadata.sorted_tables
            if table is not schema.setting
        }


def test_every_row_arrives(small: SmallRegion, target_url: str, tmp_path: Path) -> None:
    before = _counts(small.region.storage)
    with _opened(target_url) as target:
        moved = _relocation(small, target, tmp_path).run()
        assert _counts(target) == before
        assert before["licence"] == 2
        assert moved.tables == len(schema.metadata.sorted_tables)
        require_home(target, small.region.namespace.code)


def test_the_old_database_is_never_opened_again(
    small: SmallRegion, target_url: str, tmp_path: Path
) -> None:
    with _opened(target_url) as target:
        _relocation(small, target, tmp_path).run()
        with pytest.raises(ConfigurationError) as caught:
            require_home(small.region.storage, small.region.namespace.code)
    assert caught.value.reason == "DATABASE_MOVED"


def test_a_sequencer_that_survived_cannot_write_the_old_database(
    small: SmallRegion, target_url: str, tmp_path: Path
) -> None:
    sequencer = small.region.sequencer()
    small.issue_one()
    with _opened(target_url) as target:
        _relocation(small, target, tmp_path).run()
    with pytest.raises(FailedPreconditionError) as caught:
        sequencer.run_once()
    assert caught.value.reason == "LEASE_LOST"


def test_the_log_goes_on_in_the_new_database(
    small: SmallRegion, target_url: str, tmp_path: Path
) -> None:
    with _opened(target_url) as target:
        _relocation(small, target, tmp_path).run()
        office = LeaseOffice(
            database=target.database,
            table=schema.lease,
            clock=small.clock,
            holder="next",
            term=timedelta(seconds=10),
        )
        lease = office.acquire(lease_name(1))
        assert lease is not None
        with target.read() as conn:
            epoch = conn.execute(select(schema.log_head.c.epoch)).scalars().first()
        assert epoch is not None
        assert lease.epoch > epoch


def test_the_same_move_again_changes_nothing(
    small: SmallRegion, target_url: str, tmp_path: Path
) -> None:
    with _opened(target_url) as target:
        move = _relocation(small, target, tmp_path)
        move.run()
        before = _counts(target)
        assert move.run() == Relocated(tables=len(schema.metadata.sorted_tables), rows=0)
        assert _counts(target) == before


def test_a_move_elsewhere_after_it_moved_is_refused(small: SmallRegion, tmp_path: Path) -> None:
    with _opened(f"sqlite:///{tmp_path}/a.db") as first:
        _relocation(small, first, tmp_path).run()
    with (
        _opened(f"sqlite:///{tmp_path}/b.db") as second,
        pytest.raises(ConfigurationError) as caught,
    ):
        _relocation(small, second, tmp_path).run()
    assert caught.value.reason == "DATABASE_MOVED"


def test_another_regions_database_is_not_overwritten(
    small: SmallRegion, target_url: str, tmp_path: Path
) -> None:
    with SmallRegion.found(target_url) as other:
        before = _counts(other.region.storage)
    with _opened(target_url) as target:
        with pytest.raises(AlreadyExistsError) as caught:
            _relocation(small, target, tmp_path).run()
        assert _counts(target) == before
    assert caught.value.reason == "DATABASE_NOT_EMPTY"
    require_home(small.region.storage, small.region.namespace.code)


def test_a_server_at_work_is_seen(small: SmallRegion, target_url: str, tmp_path: Path) -> None:
    with _opened(target_url) as target:
        move = _relocation(small, target, tmp_path)
        small.region.sequencer()
        with pytest.raises(FailedPreconditionError) as caught:
            move.run()
    assert caught.value.reason == "DATABASE_IN_USE"
    require_home(small.region.storage, small.region.namespace.code)


def test_unsound_data_is_not_moved(small: SmallRegion, target_url: str, tmp_path: Path) -> None:
    with small.region.storage.write() as conn:
        conn.execute(update(schema.log_head).values(root=b"\0" * 32))
    with _opened(target_url) as target:
        with pytest.raises(IntegrityError):
            _relocation(small, target, tmp_path).run()
        with pytest.raises(ConfigurationError) as caught:
            require_home(target, small.region.namespace.code)
    assert caught.value.reason == "DATABASE_INCOMPLETE"
    require_home(small.region.storage, small.region.namespace.code)


def test_what_an_interrupted_copy_left_is_copied_anew(
    small: SmallRegion, target_url: str, tmp_path: Path
) -> None:
    with _opened(target_url) as target:
        move = _relocation(small, target, tmp_path)
        failing = Relocation(
            source=move.source,
            target=target,
            holder=HOLDER,
            check=_crash,
            clock=move.clock,
            entropy=move.entropy,
        )
        with pytest.raises(KeyboardInterrupt):
            failing.run()
        small.issue_one()
        move.run()
        assert _counts(target)["licence"] == 3


def test_a_crash_between_the_two_marks_is_finished(
    small: SmallRegion, target_url: str, tmp_path: Path
) -> None:
    with _opened(target_url) as target:
        move = _relocation(small, target, tmp_path)
        move.run()
        with target.write() as conn:
            _rewrite_mark(conn, "arrived", "arriving")
        with pytest.raises(ConfigurationError):
            require_home(target, small.region.namespace.code)
        move.run()
        require_home(target, small.region.namespace.code)


def test_a_region_can_move_on(small: SmallRegion, tmp_path: Path) -> None:
    with _opened(f"sqlite:///{tmp_path}/a.db") as first:
        move = _relocation(small, first, tmp_path)
        move.run()
        with _opened(f"sqlite:///{tmp_path}/b.db") as second:
            onward = Relocation(
                source=first,
                target=second,
                holder=HOLDER,
                check=move.check,
                clock=move.clock,
                entropy=move.entropy,
            )
            onward.run()
            require_home(second, small.region.namespace.code)
        with pytest.raises(ConfigurationError):
            require_home(first, small.region.namespace.code)


def test_an_empty_database_is_no_region(tmp_path: Path) -> None:
    with (
        _opened(f"sqlite:///{tmp_path}/empty.db") as empty,
        pytest.raises(ConfigurationError) as caught,
    ):
        require_home(empty, "350300")
    assert caught.value.reason == "DATABASE_EMPTY"


def test_another_regions_database_is_not_opened(small: SmallRegion) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_home(small.region.storage, "350100")
    assert caught.value.reason == "DATABASE_FOREIGN"


def _crash(_storage: Storage) -> None:
    raise KeyboardInterrupt


def _rewrite_mark(conn: Connection, old: str, new: str) -> None:
    value = get_setting(conn, MARK)
    assert value is not None
    conn.execute(
        update(schema.setting)
        .where(schema.setting.c.name == MARK)
        .values(value=value.replace(old, new))
    )
