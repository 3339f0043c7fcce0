"""One supervisor to a region's directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yinxin_proto.error import ConfigurationError


@contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Hold ``run/lock`` in a directory, with this process's id in it.

    The kernel releases the lock when the process dies; the file stays.

    Raises:
        ConfigurationError: ``REGION_LOCKED``, another process holds it (the
            message has its id); ``REGION_DIRECTORY``, the directory is absent
            or cannot be written.
    """
    path = directory / "run" / "lock"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"cannot use the directory {directory}: {error.strerror}", reason="REGION_DIRECTORY"
        ) from error
    try:
        _lock(descriptor, directory)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        raise ConfigurationError(
            f"the directory {directory} is in use by process {holder or 'unknown'}",
            reason="REGION_LOCKED",
        ) from error
