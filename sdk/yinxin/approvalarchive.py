"""The authority's own copies of what it approved, kept before anything is sent.

After a theft in the region they show which licences the authority approved:
those stand again without being reissued. They lie beside the credentials, in
``approvals/``, one file of JSON lines a day; back them up as you do your files.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Sequence
from datetime import timedelta, timezone
from pathlib import Path
from typing import Final

from yinxin_proto.approvalcopy import ApprovalCopy
from yinxin_proto.clock import Clock
from yinxin_proto.error import ConfigurationError

FOLDER: Final = "approvals"
_CHINA: Final = timezone(timedelta(hours=8))


class ApprovalArchive:
    """Appends copies to the file of the day; several threads and processes may.

    Args:
        folder: Made when the first copy is kept, mode 0700.
        clock: Says which day it is.
    """

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()

    def keep(self, approval: str, requests: Sequence[bytes]) -> None:
        """Keep a copy, durably before returning.

        Raises:
            ConfigurationError: It cannot be written (``APPROVAL_COPY``): what leaves
                no copy here must not be sent.
        """
        line = ApprovalCopy.of(approval, tuple(requests)).to_bytes() + b"\n"
        name = self._clock.now().astimezone(_CHINA).strftime("%Y-%m-%d.jsonl")
        try:
            with self._lock:
                self._append(self._folder / name, line)
        except OSError as error:
            raise ConfigurationError(
                f"cannot keep a copy of the approval in {self._folder}: {error.strerror}; "
                "nothing was sent",
                reason="APPROVAL_COPY",
            ) from error

    def _append(self, path: Path, line: bytes) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            # Until it is closed: a line of megabytes may take several writes.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            # What a crash cut short was never sent; this copy must not become part of it.
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            view = memoryview(b"\n" + line if is_torn else line)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size == 0:
            _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make a file's name in its folder durable, and the folder's own."""
    for place in (folder, folder.parent):
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
