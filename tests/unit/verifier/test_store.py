from __future__ import annotations

import threading
from pathlib import Path

import pytest

from yinxin_proto.error import IntegrityError, UnavailableError, VerificationError
from yinxin_proto.merkle import TreeHead
from yinxin_proto.strict import parse_json
from yinxin_verifier.store import Memory, MemoryStore

ROOT = bytes(32)


def test_nothing_is_remembered_at_first(tmp_path: Path) -> None:
    assert MemoryStore(tmp_path / "m.json").load() is None


def test_what_was_seen_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state" / "m.json"
    heads = {"log": TreeHead(5, b"\x01" * 32)}
    seen = MemoryStore(path).remember(pinned_root=ROOT, versions={"root": 1}, heads=heads)
    assert MemoryStore(path).load() == seen
    assert seen.heads == heads


def test_a_memory_is_its_own_inverse() -> None:
    memory = Memory(
        pinned_root=ROOT, versions={"root": 2, "targets": 9}, heads={"a": TreeHead(1, ROOT)}
    )
    assert Memory.from_json(memory.to_json()) == memory


def test_a_version_never_goes_back(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path / "m.json")
    store.remember(pinned_root=ROOT, versions={"root": 1, "targets": 4}, heads={})
    with pytest.raises(VerificationError) as caught:
        store.remember(pinned_root=ROOT, versions={"root": 1, "targets": 3}, heads={})
    assert caught.value.reason == "ROLLBACK"


def test_versions_may_start_anew_after_the_root_was_rotated(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path / "m.json")
    store.remember(pinned_root=ROOT, versions={"root": 1, "timestamp": 1 << 40}, heads={})
    after = store.remember(pinned_root=ROOT, versions={"root": 2, "timestamp": 1}, heads={})
    assert after.versions["timestamp"] == 1


def test_another_pinned_root_is_refused(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path / "m.json")
    store.remember(pinned_root=ROOT, versions={}, heads={})
    with pytest.raises(VerificationError) as caught:
        store.remember(pinned_root=b"\x01" * 32, versions={}, heads={})
    assert caught.value.reason == "PINNED_ROOT"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"schema":1}', b'{"heads":{},"pinned_root":"","schema":1,"versions":{}}'],
)
def test_a_damaged_file_is_an_error_and_not_a_fresh_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        MemoryStore(path).load()


def test_a_folder_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = MemoryStore(tmp_path / "file" / "m.json")
    with pytest.raises(UnavailableError):
        store.remember(pinned_root=ROOT, versions={}, heads={})


def test_two_writers_do_not_forget_what_the_other_saw(tmp_path: Path) -> None:
    path = tmp_path / "m.json"

    def see(origin: str) -> None:
        for size in range(1, 20):
            MemoryStore(path).remember(
                pinned_root=ROOT, versions={}, heads={origin: TreeHead(size, ROOT)}
            )

    threads = [threading.Thread(target=see, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = MemoryStore(path).load()
    assert seen is not None
    assert {origin: head.size for origin, head in seen.heads.items()} == {"a": 19, "b": 19}
    parse_json(path.read_bytes())
