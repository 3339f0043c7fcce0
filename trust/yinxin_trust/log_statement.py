"""The statements by which a log grows; `sequencer` says in which order, and why.

They are built once: building one costs as much as SQLite takes to run it.
Each takes ``log``, the log's number.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    ARRAY,
    LargeBinary,
    bindparam,
    column,
    exists,
    func,
    insert,
    select,
    update,
)

from yinxin_trust import schema

_head, _tile, _entry = schema.log_head, schema.log_tile, schema.log_entry
_THIS_LOG: Final = _head.c.log_number == bindparam("log")
_UNPLACED: Final = (_entry.c.log_number == bindparam("log")) & _entry.c.idx.is_(None)
LOOK: Final = select(
    _head.c.size, _head.c.signed_size, exists().where(_UNPLACED).label("waiting")
).where(_THIS_LOG)
"""Sizes, and whether anything waits: all that an idle round asks."""
LOCK_HEAD: Final = (
    select(
        _head.c.origin,
        _head.c.size,
        _head.c.root,
        _head.c.epoch,
        _head.c.signed_size,
        _head.c.checkpoint,
    )
    .where(_THIS_LOG)
    .with_for_update()
)
"""The head, locked until the transaction ends (SQLite: the write gate is that lock)."""
WAITING: Final = (
    select(_entry.c.queued_ms, _entry.c.entry).where(_UNPLACED).limit(bindparam("limit"))
)
"""Up to ``limit`` entries without an index. Not ordered: with a million waiting,
each batch would sort them all."""
GROW_TILE: Final = (
    update(_tile)
    .where(
        _tile.c.log_number == bindparam("log"),
        _tile.c.level == bindparam("at_level"),
        _tile.c.tile_index == bindparam("at_index"),
    )
    .values(hashes=bindparam("grown"))
)
ADD_TILE: Final = insert(_tile)
PLACE_ONE: Final = (
    update(_entry)
    .where(_UNPLACED, _entry.c.entry == bindparam("placed"))
    .values(idx=bindparam("at"))
)
"""One entry's index; many rows at a time, where there is no server to wait for."""
_unnested: Final = (
    func.unnest(bindparam("placed", type_=ARRAY(LargeBinary)))
    .table_valued(column("entry", LargeBinary), with_ordinality="position")
    .render_derived("placed")
)
PLACE_ALL: Final = (
    update(_entry)
    .where(_UNPLACED, _entry.c.entry == _unnested.c.entry)
    .values(idx=bindparam("first") + _unnested.c.position - 1)
)
"""A whole batch's indexes, counted from ``first`` in the order of ``placed`` (PostgreSQL)."""
ADVANCE: Final = (
    update(_head)
    .where(_THIS_LOG, _head.c.size == bindparam("old_size"), _head.c.epoch <= bindparam("mine"))
    .values(size=bindparam("new_size"), root=bindparam("new_root"), epoch=bindparam("mine"))
)
"""The compare-and-set of the head."""
STORE_CHECKPOINT: Final = (
    update(_head)
    .where(
        _THIS_LOG,
        _head.c.size == bindparam("old_size"),
        _head.c.root == bindparam("old_root"),
        _head.c.signed_size < bindparam("old_size"),
    )
    .values(signed_size=bindparam("old_size"), checkpoint=bindparam("note"))
)
