from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from support.clock import SeededEntropy
from yinxin_ca import storage
from yinxin_proto.error import KeyStoreError, ResourceExhaustedError, YinxinError


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (errno.ENOSPC, ResourceExhaustedError, "STORAGE_FULL"),
        (errno.EDQUOT, ResourceExhaustedError, "STORAGE_FULL"),
        (errno.EROFS, KeyStoreError, "STORE_DENIED"),
        (errno.EACCES, KeyStoreError, "STORE_DENIED"),
        (errno.EIO, KeyStoreError, "STORE_IO"),
    ],
)
def test_what_the_system_refuses_becomes_a_typed_error(
    number: int, kind: type[YinxinError], reason: str
) -> None:
    with pytest.raises(kind) as caught, storage.typed_errors(Path("/a/b/name"), "writing"):
        raise OSError(number, os.strerror(number))
    assert caught.value.reason == reason
    assert "name" in caught.value.message
    assert "/a/b" not in caught.value.message


def test_a_new_file_never_replaces_an_old_one(tmp_path: Path) -> None:
    entropy = SeededEntropy()
    assert storage.write_new(tmp_path / "x", b"first", entropy=entropy)
    assert not storage.write_new(tmp_path / "x", b"second", entropy=entropy)
    assert (tmp_path / "x").read_bytes() == b"first"
    storage.replace(tmp_path / "x", b"third", entropy=entropy)
    assert (tmp_path / "x").read_bytes() == b"third"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_full_device_is_reported_as_full() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(ResourceExhaustedError),
        storage.typed_errors(full, "writing"),
        full.open("wb", buffering=0) as file,
    ):
        file.write(b"x")
