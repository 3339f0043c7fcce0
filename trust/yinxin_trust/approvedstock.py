"""What the authorities approved, by their own word: their copies, each signature checked.

The region's records have no part in it: whoever broke in can have written
them. Keys are those of the published trust list, which takes the offline keys
to change. An approval key that was stolen together with the licence key is a
stated limit: what it signed is nobody's word, and its licences are issued anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from yinxin_proto.approval import ISSUE
from yinxin_proto.approvalcopy import MAX_COPY_BYTES, ApprovalCopy
from yinxin_proto.error import ConfigurationError, MalformedError, VerificationError
from yinxin_proto.keyrecord import KeyPurpose, KeyState
from yinxin_proto.strict import b64url_decode
from yinxin_proto.trustlist import TrustList

_SUFFIXES: Final = ("*.jsonl", "*.json")
_STANDING: Final = frozenset({KeyState.ACTIVE, KeyState.RETIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedBatch:
    """One approval of an authority's, proven."""

    authority: str
    """Credit code."""
    name: str
    """Of the authority, as the trust list has it."""
    requests: Mapping[bytes, bytes | None]
    """Exact bytes by digest; None where the copy has the digest alone."""


class ApprovedStock:
    """Everything that authorities approved, as far as their copies show.

    Args:
        trust_list: As published; its approval keys judge.
    """

    def __init__(self, trust_list: TrustList) -> None:
        self._list = trust_list
        self._batches: dict[bytes, ApprovedBatch] = {}
        self.refused: list[str] = []
        """Reasons of the copies that do not hold; they approve nothing."""

    def add(self, copies: Iterable[ApprovalCopy]) -> None:
        """Take in copies; one that does not hold is left out, and its reason kept."""
        for copy in copies:
            try:
                digest, batch = self._verify(copy)
            except (MalformedError, VerificationError) as error:
                self.refused.append(error.reason)
                continue
            known = self._batches.get(digest)
            if known is None or None in known.requests.values():
                self._batches[digest] = batch

    def get(self, approval: bytes) -> ApprovedBatch | None:
        """Return the batch under an approval, by the digest that leaves commit to."""
        return self._batches.get(approval)

    def __len__(self) -> int:
        return len(self._batches)

    def _verify(self, copy: ApprovalCopy) -> tuple[bytes, ApprovedBatch]:
        unverified = copy.parse_approval()
        claimed = unverified.claimed
        found = self._list.find_key(
            b64url_decode(str(unverified.jws.header.get("kid", "")), max_bytes=32)
        )
        owner, record = (None, None) if found is None else found
        if owner is None or record is None or record.purpose is not KeyPurpose.APPROVAL:
            raise VerificationError("copy: no approval key of the list", reason="APPROVAL_KEY")
        if owner.code != claimed.authority or record.state not in _STANDING:
            raise VerificationError("copy: a key that does not stand", reason="APPROVAL_KEY")
        if claimed.region != self._list.region or claimed.operation != ISSUE:
            raise VerificationError("copy: not of an issue here", reason="APPROVAL_OPERATION")
        approval = unverified.verify(record.public_key, copy.digests)
        bodies = copy.requests or (None,) * len(copy.digests)
        requests = dict(zip(copy.digests, bodies, strict=True))
        return approval.digest, ApprovedBatch(
            authority=owner.code, name=owner.name, requests=requests
        )


def read_copies(path: Path) -> Iterator[ApprovalCopy]:
    """Yield the copies in a file of JSON lines, or in every such file of a folder.

    Raises:
        ConfigurationError: It cannot be read, or is a folder without such files
            (``APPROVAL_COPIES``), or a line is no copy (``APPROVAL_COPY``): nothing
            may be judged by half of the copies.
    """
    try:
        files = [path]
        if path.is_dir():
            files = sorted(file for suffix in _SUFFIXES for file in path.glob(suffix))
        if not files:
            raise ConfigurationError(
                f"{path} has no copies of approvals (*.jsonl): judged by it, nothing would stand; "
                "name the authority's folder approvals/, or a file",
                reason="APPROVAL_COPIES",
            )
        for file in files:
            with file.open("rb") as lines:
                for number, line in enumerate(_lines(lines), 1):
                    if line.strip():
                        yield _copy(line, file, number)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", reason="APPROVAL_COPIES"
        ) from error


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines, of each no more than shows that it is too long."""
    while line := file.readline(MAX_COPY_BYTES + 2):
        yield line


def _copy(line: bytes, file: Path, number: int) -> ApprovalCopy:
    try:
        return ApprovalCopy.parse(line.strip())
    except MalformedError as error:
        raise ConfigurationError(
            f"{file.name}, line {number}: no copy of an approval ({error.reason}); a line "
            "that a crash cut short was never sent: delete that line",
            reason="APPROVAL_COPY",
        ) from error
