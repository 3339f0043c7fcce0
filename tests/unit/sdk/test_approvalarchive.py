"""The authority's own copies: durable, one a line, whatever was interrupted before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from support.clock import FixedClock
from yinxin.approvalarchive import ApprovalArchive
from yinxin_proto.approvalcopy import ApprovalCopy
from yinxin_proto.error import ConfigurationError
from yinxin_trust.approvedstock import read_copies

REQUESTS = (b"one", b"another")


def _keep(folder: Path, requests: Sequence[bytes] = REQUESTS) -> Path:
    ApprovalArchive(folder, clock=FixedClock()).keep("a.b.c", requests)
    (file,) = folder.glob("*.jsonl")
    return file


def test_each_copy_is_a_line_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "approvals"
    _keep(folder)
    file = _keep(folder)
    assert list(read_copies(folder)) == [ApprovalCopy.of("a.b.c", REQUESTS)] * 2
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_copy_after_one_that_a_crash_cut_short_is_whole(tmp_path: Path) -> None:
    """The torn one was never sent, and may be deleted; the one after it was."""
    folder = tmp_path / "approvals"
    file = _keep(folder)
    file.write_bytes(file.read_bytes()[:-20])
    _keep(folder)
    with pytest.raises(ConfigurationError) as refused:
        list(read_copies(folder))
    assert "line 1" in refused.value.message

    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[1:]))
    assert list(read_copies(file)) == [ApprovalCopy.of("a.b.c", REQUESTS)]


def test_a_folder_without_copies_judges_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        list(read_copies(tmp_path))
    assert refused.value.reason == "APPROVAL_COPIES"
    # An authority that approved nothing says so with an empty file.
    empty = tmp_path / "none.jsonl"
    empty.touch()
    assert list(read_copies(empty)) == []


def test_nothing_is_sent_where_no_copy_can_be_kept(tmp_path: Path) -> None:
    folder = tmp_path / "approvals"
    folder.symlink_to(tmp_path / "absent")
    with pytest.raises(ConfigurationError) as refused:
        ApprovalArchive(folder, clock=FixedClock()).keep("a.b.c", REQUESTS)
    assert refused.value.reason == "APPROVAL_COPY"
