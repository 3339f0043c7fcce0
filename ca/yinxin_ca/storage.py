"""Files that appear whole or not at all, and system errors as typed ones."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from yinxin_proto.clock import Entropy
from yinxin_proto.error import KeyStoreError, ResourceExhaustedError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_OWNER_ONLY: Final = 0o600


@contextlib.contextmanager
def typed_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn what the system refuses into typed errors.

    Args:
        path: What is read or written; only its last component is named.
        doing: What is being done, for the message.

    Raises:
        ResourceExhaustedError: No space (reason ``STORAGE_FULL``).
        KeyStoreError: No permission (``STORE_DENIED``) or anything else that
            the system refuses (``STORE_IO``).
    """
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        message = f"{doing} {path.name}: {why}"
        if error.errno in _FULL:
            raise ResourceExhaustedError(
                f"{message}; free some space and try again", reason="STORAGE_FULL"
            ) from error
        if error.errno in _DENIED:
            raise KeyStoreError(
                f"{message}; check the owner and mode of the directory", reason="STORE_DENIED"
            ) from error
        raise KeyStoreError(message, reason="STORE_IO") from error


def write_new(path: Path, content: bytes, *, entropy: Entropy) -> bool:
    """Create ``path`` with ``content``, durably and all at once, mode 0600.

    Of several processes that try at the same moment one succeeds. Returns
    whether this one did; a file that was there before is left as it is.
    """
    with _temporary(path, content, entropy) as temporary:
        try:
            # A rename would replace; a link is refused where the name exists.
            os.link(temporary, path)
        except FileExistsError:
            return False
    sync_directory(path.parent)
    return True


def replace(path: Path, content: bytes, *, entropy: Entropy) -> None:
    """Put ``content`` at ``path`` in place of what is there, durably, mode 0600."""
    with _temporary(path, content, entropy) as temporary:
        temporary.rename(path)
    sync_directory(path.parent)


def read_bounded(path: Path, *, max_bytes: int) -> bytes:
    """Return a regular file's content, or ``max_bytes`` + 1 bytes if it has more.

    Symbolic links are not followed: what is read is what is in the directory.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(max_bytes + 1)


def sync_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(path: Path, content: bytes, entropy: Entropy) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{entropy.token(8).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, _OWNER_ONLY), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
