from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import SeededEntropy
from support.hierarchy import Hierarchy
from support.region_builder import ORIGIN, RegionBuilder
from support.trust_repository import key
from yinxin_proto.error import (
    ConfigurationError,
    IntegrityError,
    MalformedError,
    NotFoundError,
    VerificationError,
    YinxinError,
)
from yinxin_proto.keyrecord import KeyState, Pin
from yinxin_proto.merkle import TreeHead
from yinxin_verifier.decision import verify
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.pack import LoadedPack, PackLoader, Pinning
from yinxin_verifier.packfile import Manifest, TreeFile, open_pack
from yinxin_verifier.policy import OFFLINE
from yinxin_verifier.store import MemoryStore


@pytest.fixture
def region() -> RegionBuilder:
    built = RegionBuilder()
    built.fill_log(5)
    built.issue()
    return built


def write_directory(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def first_use(memory: MemoryStore | None = None) -> PackLoader:
    return PackLoader(trust_first_use=True, memory=memory)


def load(region: RegionBuilder, path: Path, loader: PackLoader | None = None) -> LoadedPack:
    return (loader or first_use()).load(path, region.clock.now())


Layout = Callable[[Path, Mapping[str, bytes]], Path]
LAYOUTS = [
    lambda root, files: write_directory(root / "pack", files),
    lambda root, files: write_zip(root / "pack.zip", files),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=["directory", "zip"])
def test_a_licence_is_verified_from_a_pack(
    region: RegionBuilder, tmp_path: Path, layout: Layout
) -> None:
    issued = region.issue()
    path = layout(tmp_path, region.pack())
    loaded = load(region, path)
    evidence = Evidence(licence=region.file(issued), trust=loaded.trust)
    report = verify(evidence, OFFLINE, region.clock.now())
    assert report.exit_status == 0, report.text.en
    assert report.path[0].trust_version == 2
    assert loaded.refused_statuses == ()


def test_a_pack_carries_the_proofs_that_tie_old_receipts_to_it(
    region: RegionBuilder, tmp_path: Path
) -> None:
    issued = region.issue()
    file, size = region.file(issued), len(region.leaves)
    region.fill_log(4)
    path = write_zip(tmp_path / "p.zip", region.pack(proofs=[(size, len(region.leaves))]))
    evidence = Evidence(licence=file, trust=load(region, path).trust)
    report = verify(evidence, OFFLINE, region.clock.now())
    (check,) = (check for check in report.checks if check.name == "checkpoint")
    assert "consistent with the pack" in check.evidence.en


# --- pinning ----------------------------------------------------------------------


def steal(region: RegionBuilder) -> int:
    """Declare the key stolen at the log's present head; return its size."""
    head = region.head()
    pin = Pin(origin=ORIGIN, n_stop=head.size, root=head.root, n_safe=head.size)
    region.add_key(region.key, state=KeyState.COMPROMISED, pin=pin)
    return head.size


def test_a_pack_carries_the_tiles_that_old_receipts_are_found_in(
    region: RegionBuilder, tmp_path: Path
) -> None:
    issued = region.issue()
    old = region.file(issued)
    region.fill_log(600)
    size = steal(region)
    region.fill_log(5)
    for name, blocks, code in (
        ("with", ((0, 1),), None),
        ("without", (), "PIN_CONSISTENCY_UNAVAILABLE"),
    ):
        files = region.pack(trees=[(size, blocks)])
        loaded = load(region, write_zip(tmp_path / f"{name}.zip", files))
        evidence = Evidence(licence=old, trust=loaded.trust)
        assert verify(evidence, OFFLINE, region.clock.now()).code == code


def test_tiles_that_were_altered_do_not_make_a_good_licence_look_forged(
    region: RegionBuilder, tmp_path: Path
) -> None:
    region.fill_log(600)
    size = steal(region)
    files = region.pack(trees=[(size, ((0, 1),))])
    altered = bytearray(files["trees/0"])
    altered[1000] ^= 1
    for place, (tiles, reason) in enumerate(
        [
            (bytes(altered), "PINNED_TREE"),
            (files["trees/0"][:-1], "PINNED_TREE"),
            (files["trees/0"] + b"x", "TOO_LARGE"),
        ]
    ):
        path = write_zip(tmp_path / f"{place}.zip", {**files, "trees/0": tiles})
        with pytest.raises((MalformedError, VerificationError)) as caught:
            load(region, path)
        assert caught.value.reason == reason


def test_a_tree_without_bounds_is_refused_before_it_is_read(
    region: RegionBuilder, tmp_path: Path
) -> None:
    manifest = Manifest(
        checkpoints={},
        consistency={},
        trees={TreeHead(1 << 50, bytes(32)): TreeFile(file="trees/0")},
    )
    files = {**region.pack(), "pack.json": manifest.to_bytes(), "trees/0": b""}
    with pytest.raises(MalformedError) as caught:
        load(region, write_zip(tmp_path / "pack.zip", files))
    assert caught.value.reason == "TOO_LARGE"


def test_a_parallel_root_may_be_pinned_beside_the_repositorys(
    region: RegionBuilder, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "pack.zip", region.pack())
    own = region.hierarchy.parallel.certificate
    other = Hierarchy(entropy=SeededEntropy("stranger")).parallel.certificate
    loaded = load(region, path, PackLoader(trust_first_use=True, pq_root=own))
    assert all(log.is_broken for log in loaded.trust.home.logs.values())
    with pytest.raises(VerificationError) as caught:
        load(region, path, PackLoader(trust_first_use=True, pq_root=other))
    assert caught.value.reason == "PQ_ROOT_PINNED"


def test_a_verifier_offline_since_before_the_theft_says_how_old_its_evidence_is(
    region: RegionBuilder, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "pack.zip", region.pack())
    forged = region.issue()
    steal(region)
    region.clock.advance(days=6)
    report = verify(
        Evidence(licence=region.file(forged), trust=load(region, path).trust),
        OFFLINE,
        region.clock.now(),
    )
    # It cannot know; so whoever reads the report must see since when.
    assert report.trust_age == timedelta(days=6)
    assert report.to_dict()["trustAgeSeconds"] == 6 * 86_400
    by_name = {check.name: check for check in report.checks}
    for name in ("freshness", "key", "key-state"):
        assert by_name[name].age == timedelta(days=6)


def test_a_root_must_be_pinned_one_way_or_the_other() -> None:
    for options in ({}, {"pinned_root": b"{}", "trust_first_use": True}):
        with pytest.raises(ConfigurationError):
            PackLoader(**options)  # type: ignore[arg-type]


def test_trust_on_first_use_is_said_to_be_that(region: RegionBuilder, tmp_path: Path) -> None:
    files = region.pack()
    path = write_directory(tmp_path / "pack", files)
    memory = MemoryStore(tmp_path / "memory.json")
    first = load(region, path, first_use(memory))
    again = load(region, path, first_use(memory))
    given = load(region, path, PackLoader(pinned_root=files["metadata/1.root.json"]))
    assert [p.pinning for p in (first, again, given)] == [
        Pinning.FIRST_USE,
        Pinning.REMEMBERED,
        Pinning.GIVEN,
    ]
    assert first.root_fingerprint == given.root_fingerprint


def test_a_pack_of_another_root_is_refused_when_one_was_pinned(
    region: RegionBuilder, tmp_path: Path
) -> None:
    published = region.repository()
    honest = write_directory(tmp_path / "a", region.pack(repository=published))
    published.rotate("root", key(999))
    files = region.pack(repository=published)
    forged = dict(files)
    forged["metadata/1.root.json"] = files["metadata/2.root.json"]
    memory = MemoryStore(tmp_path / "memory.json")
    load(region, honest, first_use(memory))
    with pytest.raises(VerificationError) as caught:
        load(region, write_directory(tmp_path / "b", forged), first_use(memory))
    assert caught.value.reason == "PINNED_ROOT"


def test_a_root_that_was_not_pinned_does_not_open_a_pack(
    region: RegionBuilder, tmp_path: Path
) -> None:
    published = region.repository()
    published.rotate("root", key(999))
    path = write_directory(tmp_path / "pack", region.pack(repository=published))
    stranger = region.repository()
    stranger.rotate("timestamp", key(998))
    other = region.pack(repository=stranger)["metadata/2.root.json"]
    with pytest.raises(VerificationError):
        load(region, path, PackLoader(pinned_root=other))


# --- rollback, freeze ----------------------------------------------------------------


def test_an_older_pack_is_refused_once_a_newer_was_seen(
    region: RegionBuilder, tmp_path: Path
) -> None:
    published = region.repository()
    old = write_directory(tmp_path / "old", region.pack(repository=published))
    published.update("status", {"status/1.jwt": region.status_token().encode()})
    new = write_directory(tmp_path / "new", region.pack(repository=published))
    memory = MemoryStore(tmp_path / "memory.json")
    load(region, new, first_use(memory))
    with pytest.raises(VerificationError) as caught:
        load(region, old, first_use(memory))
    assert caught.value.reason == "ROLLBACK"


def test_a_log_that_shrank_is_refused(region: RegionBuilder, tmp_path: Path) -> None:
    published = region.repository()
    files = region.pack(repository=published)
    memory = MemoryStore(tmp_path / "memory.json")
    load(region, write_directory(tmp_path / "a", files), first_use(memory))
    shrunk = {**files, "checkpoints/0": region.checkpoint(3)}
    with pytest.raises(VerificationError) as caught:
        load(region, write_directory(tmp_path / "b", shrunk), first_use(memory))
    assert caught.value.reason == "ROLLBACK"


def test_a_log_with_another_root_of_the_same_size_is_refused(
    region: RegionBuilder, tmp_path: Path
) -> None:
    files = region.pack()
    memory = MemoryStore(tmp_path / "memory.json")
    load(region, write_directory(tmp_path / "a", files), first_use(memory))
    forked = {**files, "checkpoints/0": region.checkpoint(root=bytes(32))}
    with pytest.raises(VerificationError) as caught:
        load(region, write_directory(tmp_path / "b", forked), first_use(memory))
    assert caught.value.reason == "EQUIVOCATION"


def test_an_expired_trust_list_is_an_error_and_an_expired_timestamp_an_age(
    region: RegionBuilder, tmp_path: Path
) -> None:
    path = write_directory(tmp_path / "pack", region.pack())
    region.clock.advance(days=30)
    loaded = load(region, path)
    assert region.clock.now().timestamp() - loaded.trust.home.freshness.issued_at == 30 * 86_400
    region.clock.advance(days=366)
    with pytest.raises(VerificationError) as caught:
        load(region, path)
    assert caught.value.reason == "TRUST_EXPIRED"


# --- damage ------------------------------------------------------------------------


def test_nothing_there_is_said_to_be_nothing(region: RegionBuilder, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load(region, tmp_path / "nowhere")


def test_every_file_of_a_pack_is_needed(region: RegionBuilder, tmp_path: Path) -> None:
    published = region.repository()
    view = published.load()
    needed = {*view.files(), "pack.json", "checkpoints/0"}
    files = {
        name: data for name, data in region.pack(repository=published).items() if name in needed
    }
    unread = {name for name in needed if "catalogue" in name and name.startswith("targets/")}
    for place, name in enumerate(sorted(needed - unread)):
        cut = {other: data for other, data in files.items() if other != name}
        path = write_directory(tmp_path / str(place), cut)
        with pytest.raises((MalformedError, VerificationError)) as caught:
            load(region, path)
        assert caught.value.reason == "PACK_TRUNCATED", name


def test_a_flipped_bit_anywhere_is_noticed(region: RegionBuilder, tmp_path: Path) -> None:
    published = region.repository()
    view = published.load()
    files = region.pack(repository=published)
    # The pinned root is the caller's own copy; the pack's is not even read.
    unread = ("catalogue/", "1.root.json")
    signed = [name for name in view.files() if not any(part in name for part in unread)]
    for place, name in enumerate([*signed, "checkpoints/0"]):
        data = bytearray(files[name])
        data[len(data) // 2] ^= 1
        path = write_zip(tmp_path / f"{place}.zip", {**files, name: bytes(data)})
        with pytest.raises((MalformedError, VerificationError)):
            load(region, path, PackLoader(pinned_root=published.pinned))


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_zip_cut_short_is_a_typed_error(
    region: RegionBuilder, tmp_path: Path, keep: float
) -> None:
    path = write_zip(tmp_path / "pack.zip", region.pack())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(MalformedError) as caught:
        load(region, path)
    assert caught.value.reason == "PACK_DAMAGED"


def test_bytes_changed_within_a_zip_are_a_typed_error(
    region: RegionBuilder, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "pack.zip", region.pack())
    data = path.read_bytes()
    for at in range(60, len(data), len(data) // 40):
        changed = bytearray(data)
        changed[at] ^= 0xFF
        path.write_bytes(changed)
        try:
            load(region, path)
        except YinxinError:
            continue


def test_a_zip_bomb_is_not_inflated(region: RegionBuilder, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "p.zip", {**region.pack(), "pack.json": b" " * (64 << 20)})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(MalformedError) as caught:
        load(region, path)
    assert caught.value.reason == "TOO_LARGE"


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a\\b", "a//b", ".hidden", "a/../b"])
def test_a_zip_with_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "p.zip", {name: b"x"})
    with pytest.raises(MalformedError) as caught:
        open_pack(path)
    assert caught.value.reason == "PACK_MEMBER"


def test_a_zip_with_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pack.json", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("pack.json", b"2")
    with pytest.raises(MalformedError) as caught:
        open_pack(path)
    assert caught.value.reason == "PACK_MEMBER"


def _flag(bit: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[data.find(b"PK\x01\x02") + 8] |= bit
        data[data.find(b"PK\x03\x04") + 6] |= bit

    return change


def _later_version(data: bytearray) -> None:
    data[data.find(b"PK\x01\x02") + 6] = 99


def _append(data: bytearray) -> None:
    data += b"junk"


def _prepend(data: bytearray) -> None:
    data[:0] = b"#!/bin/sh\n"


def _huge_directory(data: bytearray) -> None:
    end = data.rfind(b"PK\x05\x06")
    data[end + 12 : end + 16] = (1 << 30).to_bytes(4, "little")


@pytest.mark.parametrize(
    "change",
    [_flag(0x20), _flag(0x40), _flag(0x01), _later_version, _append, _prepend, _huge_directory],
    ids=["patched", "encrypted", "password", "version", "after", "before", "directory"],
)
def test_a_zip_that_no_pack_writer_makes_is_a_typed_error(
    tmp_path: Path, change: Callable[[bytearray], None]
) -> None:
    path = write_zip(tmp_path / "pack.zip", {"pack.json": b"{}"})
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    with pytest.raises(MalformedError):
        open_pack(path).read("pack.json", 100)


def test_bounds_cannot_be_replaced_from_within_a_members_comment(tmp_path: Path) -> None:
    path = tmp_path / "pack.zip"
    info = zipfile.ZipInfo("pack.json")
    end64 = b"PK\x06\x06" + bytes(52)
    info.comment = end64 + b"PK\x06\x07" + bytes(16)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"{}")
    with pytest.raises(MalformedError):
        open_pack(path)


def test_a_directory_with_a_loop_of_links_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "pack.json").symlink_to("pack.json")
    with pytest.raises(MalformedError):
        open_pack(tmp_path).read("pack.json", 100)


def test_a_pipe_in_a_directory_does_not_hold_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pack.json")
    assert open_pack(tmp_path).read("pack.json", 100) is None


def test_a_manifest_that_names_a_log_twice_is_refused() -> None:
    place = '{"file":"checkpoints/%d","origin":"a"}'
    listed = ",".join([place % 0, place % 1])
    with pytest.raises(MalformedError):
        Manifest.parse(f'{{"checkpoints":[{listed}],"consistency":[],"schema":1}}'.encode())


def test_a_link_out_of_a_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"{}")
    root = tmp_path / "pack"
    root.mkdir()
    (root / "pack.json").symlink_to(tmp_path / "secret")
    with pytest.raises(MalformedError) as caught:
        open_pack(root).read("pack.json", 10)
    assert caught.value.reason == "PACK_LINK"


@pytest.mark.parametrize("path", ["../x", "/x", "", "a/./b"])
def test_a_directory_reads_only_names_within_it(tmp_path: Path, path: str) -> None:
    with pytest.raises(MalformedError):
        open_pack(tmp_path).read(path, 10)


def test_a_checkpoint_of_a_log_that_nobody_named_is_refused(
    region: RegionBuilder, tmp_path: Path
) -> None:
    manifest = Manifest(checkpoints={"evil.example/log": "checkpoints/0"}, consistency={})
    files = {**region.pack(), "pack.json": manifest.to_bytes()}
    with pytest.raises(MalformedError) as caught:
        load(region, write_zip(tmp_path / "p.zip", files))
    assert caught.value.reason == "LOG_UNKNOWN"


def test_a_status_list_that_does_not_verify_is_left_out_and_told(
    region: RegionBuilder, tmp_path: Path
) -> None:
    published = region.repository()
    stale = region.status_token(chain=region.chain, key=region.key)
    published.update("status", {"status/1.jwt": stale.encode()})
    path = write_zip(tmp_path / "p.zip", region.pack(repository=published))
    assert load(region, path).refused_statuses == ("STATUS_KEY",)


def test_a_status_list_that_is_no_text_spoils_no_other(
    region: RegionBuilder, tmp_path: Path
) -> None:
    published = region.repository()
    published.update("status", {"status/2.jwt": "状态".encode()})
    loaded = load(region, write_zip(tmp_path / "p.zip", region.pack(repository=published)))
    assert len(loaded.refused_statuses) == 1
    evidence = Evidence(licence=region.file(region.issue()), trust=loaded.trust)
    assert verify(evidence, OFFLINE, region.clock.now()).code != "STATUS_UNAVAILABLE"


def test_a_manifest_is_its_own_inverse() -> None:
    manifest = Manifest(
        checkpoints={ORIGIN: "checkpoints/0"},
        consistency={(ORIGIN, 3, 7): (bytes(32),)},
        trees={TreeHead(9, bytes(32)): TreeFile(file="trees/0", blocks=((0, 1), (3, 5)))},
    )
    assert Manifest.parse(manifest.to_bytes()) == manifest


def tree_entry(file: str, blocks: str) -> bytes:
    entry = f'{{"size":9,"root":"{"A" * 43}","file":{file},"blocks":{blocks}}}'
    return f'{{"schema":1,"checkpoints":[],"consistency":[],"trees":[{entry}]}}'.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"schema":2,"checkpoints":[],"consistency":[],"trees":[]}',
        b'{"schema":1,"checkpoints":[{"origin":"a","file":"../x"}],"consistency":[],"trees":[]}',
        b'{"schema":1,"checkpoints":[],"consistency":[],"trees":[],"more":1}',
        b'{"schema":1,"checkpoints":[],"consistency":[]}',
        tree_entry('"../x"', "[]"),
        tree_entry('"trees/0"', "[[1,1]]"),
        tree_entry('"trees/0"', "[[2,1]]"),
        tree_entry('"trees/0"', "[[0,2],[1,3]]"),
        tree_entry('"trees/0"', "[[0,-1]]"),
        tree_entry('"trees/0"', "[[0]]"),
        tree_entry('"trees/0"', "7"),
    ],
)
def test_another_manifest_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Manifest.parse(data)


# --- memory ---------------------------------------------------------------------


def test_a_damaged_memory_is_never_taken_for_a_fresh_one(
    region: RegionBuilder, tmp_path: Path
) -> None:
    (tmp_path / "memory.json").write_bytes(b"{")
    path = write_zip(tmp_path / "p.zip", region.pack())
    with pytest.raises(IntegrityError):
        load(region, path, first_use(MemoryStore(tmp_path / "memory.json")))


def test_a_refused_pack_leaves_the_memory_as_it_was(region: RegionBuilder, tmp_path: Path) -> None:
    memory = MemoryStore(tmp_path / "memory.json")
    files = region.pack()
    load(region, write_zip(tmp_path / "p.zip", files), first_use(memory))
    before = memory.load()
    region.clock.advance(timedelta(days=400))
    with pytest.raises(VerificationError):
        load(region, tmp_path / "p.zip", first_use(memory))
    assert memory.load() == before


def test_a_pack_may_be_read_from_elsewhere_than_a_disk(region: RegionBuilder) -> None:
    files = region.pack()

    class Shelf:
        def read(self, path: str, limit: int) -> bytes | None:
            data = files.get(path)
            return None if data is None else io.BytesIO(data).read(limit)

        def close(self) -> None:
            """Nothing is held."""

    assert first_use().load_files(Shelf(), region.clock.now()).pinning is Pinning.FIRST_USE
