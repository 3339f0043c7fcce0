"""The files of an offline pack 离线核验包: one directory or one ZIP file.

::

    pack.json           what the files below are, and consistency proofs
    checkpoints/<n>     signed notes, which travel outside TUF
    trees/<n>           tiles of a tree that the trust list pins
    metadata/…          the trust repository in TUF form
    targets/…

A pack is carried about on sticks and disks. Reading is bounded, by names that
a pack has and no other, and nothing is ever unpacked to a disk.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

from yinxin_proto.error import MalformedError, NotFoundError
from yinxin_proto.member import Members, as_integer, as_octets
from yinxin_proto.merkle import HASH_SIZE, MAX_PROOF_HASHES, TreeHead
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_json
from yinxin_proto.vkey import MAX_NAME_BYTES

MANIFEST: Final = "pack.json"
CHECKPOINT_FOLDER: Final = "checkpoints/"
TREE_FOLDER: Final = "trees/"
SCHEMA: Final = 1
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_PACK_BYTES: Final = 512 << 20
"""Bound on a pack file, and on all that is read out of one pack."""
MAX_MEMBERS: Final = 50_000
MAX_CHECKPOINTS: Final = 256
MAX_PROOFS: Final = 10_000
MAX_TREES: Final = 256
MAX_BLOCKS: Final = 65_536
"""Ranges of level-0 tiles of one tree."""
MAX_TREE_BYTES: Final = 128 << 20
"""Bound on the tiles of one tree: those above level 0 of 500 million entries take half."""

MAX_DIRECTORY_BYTES: Final = 12 << 20
"""Bound on a ZIP file's central directory: room for `MAX_MEMBERS` of our names."""

_ENCRYPTED: Final = 1
_END: Final = struct.Struct("<4s4H2LH")
"""End of central directory record (APPNOTE 4.3.16)."""
_END_MARK: Final = b"PK\x05\x06"
_LOCATOR_MARK: Final = b"PK\x06\x07"
_LOCATOR_BYTES: Final = 20
_FILE: Final = re.compile(r"checkpoints/[0-9]{1,4}")
_TREE_FILE: Final = re.compile(r"trees/[0-9]{1,4}")
_ORIGIN: Final = re.compile(rf"[\x21-\x2a\x2c-\x7e]{{1,{MAX_NAME_BYTES}}}")
_K = TypeVar("_K")
_V = TypeVar("_V")
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFile:
    """Where the tiles of a pinned tree are, and which."""

    file: str
    blocks: tuple[tuple[int, int], ...] = ()
    """Half-open ranges of the level-0 tiles among them; see `pinnedtree.layout`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a pack holds besides the TUF repository; believed of nothing."""

    checkpoints: Mapping[str, str]
    """File of each log's checkpoint, by origin."""
    consistency: Mapping[tuple[str, int, int], tuple[bytes, ...]]
    """Proofs by (origin, smaller size, larger size)."""
    trees: Mapping[TreeHead, TreeFile] = field(default_factory=dict)
    """Tiles of pinned trees."""

    def to_bytes(self) -> bytes:
        """Return canonical JSON; the exact inverse of `parse`."""
        return canonical_json(
            {
                "schema": SCHEMA,
                "checkpoints": [
                    {"origin": origin, "file": file} for origin, file in self.checkpoints.items()
                ],
                "consistency": [
                    {
                        "origin": origin,
                        "smaller": smaller,
                        "larger": larger,
                        "hashes": [b64url_encode(node) for node in proof],
                    }
                    for (origin, smaller, larger), proof in self.consistency.items()
                ],
                "trees": [
                    {
                        "size": head.size,
                        "root": b64url_encode(head.root),
                        "file": tree.file,
                        "blocks": [[start, end] for start, end in tree.blocks],
                    }
                    for head, tree in self.trees.items()
                ],
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read a manifest of at most 4 MiB.

        Raises:
            MalformedError: Not of this form, or of another schema (``SCHEMA``).
        """
        value = parse_json(data, max_bytes=MAX_MANIFEST_BYTES)
        members = Members(value, MANIFEST, ("schema", "checkpoints", "consistency", "trees"))
        if members.integer("schema") != SCHEMA:
            raise MalformedError("pack: written by a later version", reason="SCHEMA")
        return cls(
            checkpoints=_unique(members.each("checkpoints", _place, max_items=MAX_CHECKPOINTS)),
            consistency=_unique(members.each("consistency", _proof, max_items=MAX_PROOFS)),
            trees=_unique(members.each("trees", _tree, max_items=MAX_TREES)),
        )


def _unique(pairs: Sequence[tuple[_K, _V]]) -> dict[_K, _V]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Which of two holds must not depend on who reads.
        raise MalformedError("pack: a log or a proof is named twice", reason="PACK_MEMBER")
    return found


def _place(value: Json, where: str) -> tuple[str, str]:
    members = Members(value, where, ("origin", "file"))
    return members.text("origin", _ORIGIN), members.text("file", _FILE)


def _proof(value: Json, where: str) -> tuple[tuple[str, int, int], tuple[bytes, ...]]:
    members = Members(value, where, ("origin", "smaller", "larger", "hashes"))
    key = members.text("origin", _ORIGIN), members.integer("smaller"), members.integer("larger")
    return key, members.each("hashes", _hash, max_items=MAX_PROOF_HASHES)


def _tree(value: Json, where: str) -> tuple[TreeHead, TreeFile]:
    members = Members(value, where, ("size", "root", "file", "blocks"))
    head = TreeHead(members.integer("size"), members.one("root", _hash))
    blocks = members.each("blocks", _block, max_items=MAX_BLOCKS)
    ends = [0, *(end for _, end in blocks)]
    if any(start < end for (start, _), end in zip(blocks, ends, strict=False)):
        raise MalformedError(f"{where}: ranges out of order", reason="PACK_MEMBER")
    return head, TreeFile(file=members.text("file", _TREE_FILE), blocks=blocks)


def _block(value: Json, where: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise MalformedError(f"{where}: [start, end] was expected", reason="MEMBER_TYPE")
    start, end = (as_integer(bound, where) for bound in value)
    if start >= end:
        raise MalformedError(f"{where}: an empty range", reason="PACK_MEMBER")
    return start, end


def _hash(value: Json, where: str) -> bytes:
    return as_octets(value, where, max_bytes=HASH_SIZE, min_bytes=HASH_SIZE)


class PackFiles(Protocol):
    """Read access to the files of one pack."""

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file of at most ``limit`` bytes; None if it is not there.

        Raises:
            MalformedError: Longer (``TOO_LARGE``), or damaged
                (``PACK_DAMAGED``).
        """
        ...

    def close(self) -> None:
        """Let go of the pack."""
        ...


class DirectoryPack:
    """A pack laid out as a directory.

    Args:
        root: The directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def read(self, path: str, limit: int) -> bytes | None:
        """See `PackFiles.read`; a link that leads out of the pack is refused."""
        try:
            file = (self._root / _safe(path)).resolve()
            if not file.is_relative_to(self._root):
                raise MalformedError("pack: a link leads out of it", reason="PACK_LINK")
            # What is no plain file might never end, or never begin: a pipe that
            # nobody writes to must not hold the reader.
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return None
                return _bounded(stream.read(limit + 1), limit, path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        # A loop of links is a RuntimeError before Python 3.13.
        except (OSError, RuntimeError) as error:
            raise MalformedError(f"pack: {path} cannot be read", reason="PACK_DAMAGED") from error

    def close(self) -> None:
        """Nothing is held open."""


class ZipPack:
    """A pack in one ZIP file; read in place, never unpacked.

    Args:
        file: The file, at most `MAX_PACK_BYTES`.

    Raises:
        MalformedError: Not a ZIP file or cut short (``PACK_DAMAGED``), too
            large or of too many members (``TOO_LARGE``), or with members that
            no pack has (``PACK_MEMBER``).
    """

    def __init__(self, file: Path) -> None:
        try:
            _check_directory(file)
            self._zip = zipfile.ZipFile(file)
        except (
            zipfile.BadZipFile,
            zipfile.LargeZipFile,
            # Of a feature that the library knows of and lacks.
            NotImplementedError,
            OSError,
            ValueError,
        ) as error:
            raise MalformedError(
                "pack: not a ZIP file, or cut short", reason="PACK_DAMAGED"
            ) from error
        try:
            self._members = _members(self._zip)
        except MalformedError:
            self._zip.close()
            raise

    def read(self, path: str, limit: int) -> bytes | None:
        """See `PackFiles.read`; what inflates beyond the limit is refused."""
        info = self._members.get(_safe(path))
        if info is None:
            return None
        try:
            with self._zip.open(info) as stream:
                return _bounded(stream.read(limit + 1), limit, path)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            OSError,
            ValueError,
        ) as error:
            raise MalformedError(f"pack: {path} is damaged", reason="PACK_DAMAGED") from error

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


def _check_directory(file: Path) -> None:
    """Bound the list of members before the library reads all of it into memory.

    A pack ends with its end record: no comment, nothing after it, and none of
    the extensions for archives larger than any pack.
    """
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size > MAX_PACK_BYTES:
            raise MalformedError("pack: more than 512 MiB", reason="TOO_LARGE")
        stream.seek(max(0, size - _END.size - _LOCATOR_BYTES))
        before, record = stream.read(_LOCATOR_BYTES), stream.read()
    if (
        len(record) != _END.size
        or not record.startswith(_END_MARK)
        # ZIP64 could hide in the last member's comment, and bring its own bounds.
        or before.startswith(_LOCATOR_MARK)
    ):
        raise MalformedError("pack: not a ZIP file, or cut short", reason="PACK_DAMAGED")
    _, _, _, _, count, directory, offset, _ = _END.unpack(record)
    if count > MAX_MEMBERS or directory > MAX_DIRECTORY_BYTES:
        raise MalformedError(f"pack: more than {MAX_MEMBERS} files", reason="TOO_LARGE")
    if offset + directory + _END.size != size:
        raise MalformedError("pack: something before or after its files", reason="PACK_DAMAGED")


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    listed = archive.infolist()
    if len(listed) > MAX_MEMBERS:
        raise MalformedError(f"pack: more than {MAX_MEMBERS} files", reason="TOO_LARGE")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in listed:
        if info.is_dir():
            continue
        kind = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if (
            _SAFE_NAME.fullmatch(info.filename) is None
            or info.filename in members
            or info.flag_bits & _ENCRYPTED
            or not kind
        ):
            raise MalformedError(
                "pack: a file twice, encrypted, oddly compressed, or of a name that no pack has",
                reason="PACK_MEMBER",
            )
        members[info.filename] = info
    return members


def _safe(path: str) -> str:
    if _SAFE_NAME.fullmatch(path) is None:
        raise MalformedError("pack: not a name within a pack", reason="PACK_MEMBER")
    return path


def _bounded(data: bytes, limit: int, path: str) -> bytes:
    if len(data) > limit:
        raise MalformedError(f"pack: {path} is longer than {limit} bytes", reason="TOO_LARGE")
    return data


def open_pack(path: Path) -> PackFiles:
    """Open a pack, a directory or a ZIP file.

    Raises:
        NotFoundError: Nothing there (``PACK_NOT_FOUND``).
        MalformedError: See `ZipPack`.
    """
    if path.is_dir():
        return DirectoryPack(path)
    if not path.is_file():
        raise NotFoundError("pack: no such file or directory", reason="PACK_NOT_FOUND")
    return ZipPack(path)
