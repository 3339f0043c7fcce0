"""The tiles that packs carry of the trees that stolen keys and frozen logs are judged by."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from sqlalchemy import update

from support.log_region import entries, queue_entries
from support.officers import Officers
from support.small_region import SmallRegion
from yinxin_proto.keyrecord import KeyState, Pin
from yinxin_proto.logkey import FrozenHead
from yinxin_proto.merkle import TreeHead
from yinxin_proto.strict import canonical_json
from yinxin_proto.trustlist import TrustList
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, committed_head, receipt, signed_head
from yinxin_trust.pack_export import collect, write_zip
from yinxin_trust.pack_tree import pack_trees
from yinxin_trust.record import LicenceRecord
from yinxin_trust.refresh import refresh
from yinxin_trust.trustlisting import build_trust_list
from yinxin_verifier.decision import verify
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.pack import PackLoader
from yinxin_verifier.packfile import Manifest
from yinxin_verifier.pinnedtree import layout_bytes
from yinxin_verifier.policy import OFFLINE
from yinxin_verifier.report import Report

_starts = itertools.count(10_000, 10_000)


def fill(small: SmallRegion, count: int) -> None:
    """Log entries of no interest."""
    queue_entries(small.region.storage, entries(count, next(_starts)))
    small.region.sequence()


def file_of(small: SmallRegion, record: LicenceRecord) -> bytes:
    with small.region.storage.read() as conn:
        return record.file(receipt(conn, LICENCES, record.entry))


def head_of(small: SmallRegion) -> TreeHead:
    with small.region.storage.read() as conn:
        return committed_head(conn, LICENCES)


def listed(small: SmallRegion) -> TrustList:
    with small.region.storage.read() as conn:
        return build_trust_list(conn, small.region.namespace, small.clock.now())


def compromise(small: SmallRegion, record: LicenceRecord) -> Pin:
    """Declare the key that signed a licence stolen, in the database as it is."""
    officers = Officers.appoint(small.region)
    with small.region.storage.write() as conn:
        head = committed_head(conn, LICENCES)
        pin = Pin(
            origin=signed_head(conn, LICENCES).origin,
            n_stop=head.size,
            root=head.root,
            n_safe=head.size,
        )
        k, li = schema.authority_key, schema.licence
        thumbprint = conn.execute(
            li.select().with_only_columns(li.c.key_thumbprint).where(li.c.entry == record.entry)
        ).scalar_one()
        conn.execute(
            update(k)
            .where(k.c.thumbprint == thumbprint)
            .values(state=KeyState.COMPROMISED.value, pin=canonical_json(pin.to_json()).decode())
        )
        officers.publish(conn)
    return pin


def judge(small: SmallRegion, licence: bytes, path: Path) -> Report:
    pack = PackLoader(trust_first_use=True).load(path, small.clock.now())
    return verify(Evidence(licence=licence, trust=pack.trust), OFFLINE, small.clock.now())


def test_a_stolen_keys_licences_pass_from_the_pack_with_any_of_their_receipts(
    tmp_path: Path,
) -> None:
    with SmallRegion.found() as small:
        fill(small, 300)
        record = small.issue_one()
        small.region.sequence()
        early = file_of(small, record)
        fill(small, 400)
        between = file_of(small, record)
        compromise(small, record)
        fill(small, 100)
        late = file_of(small, record)
        refresh(small.region)
        with small.region.storage.read() as conn:
            files = collect(conn, small.clock.now())
        write_zip(files, tmp_path / "pack.zip")
        (tree,) = Manifest.parse(files["pack.json"]).trees.values()
        assert tree.blocks == ((1, 2),)
        for licence in (early, between, late):
            report = judge(small, licence, tmp_path / "pack.zip")
            assert report.exit_status == 0, report.text.en


def test_blocks_are_those_that_hold_entries_concerned(small: SmallRegion) -> None:
    fill(small, 260)
    record = small.issue_one()
    small.region.sequence()
    fill(small, 520)
    head = head_of(small)
    trust_list = listed(small)
    with small.region.storage.read() as conn:
        index = receipt(conn, LICENCES, record.entry).index
        origin = signed_head(conn, LICENCES).origin
        pin = Pin(origin=origin, n_stop=head.size, root=head.root, n_safe=0)
        pinned = {
            key.thumbprint: dataclasses.replace(key, state=KeyState.COMPROMISED, pin=pin)
            for _, key in trust_list.owned_keys()
            if key.purpose == "licence"
        }
        authorities = tuple(
            dataclasses.replace(
                each, keys=tuple(pinned.get(key.thumbprint, key) for key in each.keys)
            )
            for each in trust_list.authorities
        )
        stolen = dataclasses.replace(trust_list, authorities=authorities)
        (tree,) = pack_trees(conn, stolen).values()
        assert index // 256 in {at for start, end in tree.blocks for at in range(start, end)}
        assert len(tree.data) == layout_bytes(head.size, tree.blocks)

        frozen = tuple(
            dataclasses.replace(log, frozen_at=FrozenHead(size=head.size, root=head.root))
            if log.origin == origin
            else log
            for log in trust_list.logs
        )
        trees = pack_trees(conn, dataclasses.replace(trust_list, logs=frozen))
        assert trees[head] == tree
        assert pack_trees(conn, trust_list) == {}


def test_a_tree_that_is_not_this_logs_is_left_out(small: SmallRegion) -> None:
    fill(small, 10)
    head = head_of(small)
    trust_list = listed(small)
    with small.region.storage.read() as conn:
        origin = signed_head(conn, LICENCES).origin
        for forked in (
            FrozenHead(size=head.size, root=bytes(32)),
            FrozenHead(size=head.size + 5000, root=bytes(32)),
        ):
            logs = tuple(
                dataclasses.replace(log, frozen_at=forked) if log.origin == origin else log
                for log in trust_list.logs
            )
            assert pack_trees(conn, dataclasses.replace(trust_list, logs=logs)) == {}


def test_what_a_pack_has_no_room_for_is_left_to_refreshed_receipts(small: SmallRegion) -> None:
    small.issue_one()
    small.region.sequence()
    fill(small, 600)
    head = head_of(small)
    trust_list = listed(small)
    with small.region.storage.read() as conn:
        origin = signed_head(conn, LICENCES).origin
        logs = tuple(
            dataclasses.replace(log, frozen_at=FrozenHead(size=head.size, root=head.root))
            if log.origin == origin
            else log
            for log in trust_list.logs
        )
        (tree,) = pack_trees(conn, dataclasses.replace(trust_list, logs=logs), room=0).values()
    assert tree.blocks == ()
