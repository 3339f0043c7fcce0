"""Offline packs 离线核验包: the published repository with the logs' checkpoints.

The layout is `yinxin_verifier.packfile`'s. A pack is of one read transaction,
so nothing in it contradicts anything else in it; whoever wants it fresh calls
`refresh` first. It appears under its name only when it is whole.
"""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from yinxin_proto.error import AlreadyExistsError, ConfigurationError, NotFoundError
from yinxin_proto.logkey import LogKey, LogKind
from yinxin_proto.repository import Expiry, RepositoryView
from yinxin_proto.trustlist import TrustList
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, SignedHead, signed_head, tile_reader
from yinxin_trust.pack_tree import pack_trees
from yinxin_trust.publication import TRUST_TARGET, first_root, reader
from yinxin_verifier.packfile import CHECKPOINT_FOLDER, MANIFEST, TREE_FOLDER, Manifest, TreeFile

Files = Mapping[str, bytes]
"""A pack's files by path."""
_Consistency = dict[tuple[str, int, int], tuple[bytes, ...]]

_MODE: Final = 0o644 << 16
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The same content is the same archive, whenever it was made."""


def collect(conn: Connection, now: datetime) -> Files:
    """Return the files of a pack of the present state.

    Args:
        conn: One transaction, for all of it.
        now: The root and the trust list must not have expired by then.

    Raises:
        VerificationError: They have: that takes the offline keys.
    """
    read = reader(conn)
    view = RepositoryView.load(first_root(conn), read, now, mode=Expiry.PACK)
    files: dict[str, bytes] = {}
    for path in view.files():
        content = read(path)
        if content is None:
            raise NotFoundError(f"the repository lacks {path}", reason="FILE")
        files[path] = content
    heads = _heads(conn)
    places = {head.origin: f"{CHECKPOINT_FOLDER}{number}" for number, head in heads.items()}
    trust_list = TrustList.parse(view.target(TRUST_TARGET))
    trees = pack_trees(conn, trust_list)
    tree_files = {head: f"{TREE_FOLDER}{place}" for place, head in enumerate(trees)}
    files.update({tree_files[head]: tree.data for head, tree in trees.items()})
    manifest = Manifest(
        checkpoints=places,
        consistency=_ties(conn, trust_list, heads),
        trees={
            head: TreeFile(file=tree_files[head], blocks=tree.blocks)
            for head, tree in trees.items()
        },
    )
    files.update({places[head.origin]: head.checkpoint for head in heads.values()})
    files[MANIFEST] = manifest.to_bytes()
    return files


def _heads(conn: Connection) -> dict[int, SignedHead]:
    h = schema.log_head.c
    numbers = conn.execute(select(h.log_number).order_by(h.log_number)).scalars().all()
    return {number: signed_head(conn, number) for number in numbers}


def _ties(conn: Connection, trust_list: TrustList, heads: Mapping[int, SignedHead]) -> _Consistency:
    """Prove that every tree that the trust list names begins the log that is there now.

    The logs of licences are epochs of one tree, so all are proven under the
    newest origin.
    """
    head = heads[LICENCES]
    pins = (key.pin for _, key in trust_list.owned_keys() if key.pin is not None)
    ends = (log.frozen_at or log.closed_at for log in _licence_logs(trust_list))
    sizes = {pin.n_stop for pin in pins} | {end.size for end in ends if end is not None}
    reader = tile_reader(conn, LICENCES)
    return {
        (head.origin, size, head.size): tuple(reader.consistency_proof(size, head.size))
        for size in sorted(sizes)
        if 0 < size < head.size
    }


def _licence_logs(trust_list: TrustList) -> list[LogKey]:
    return [log for log in trust_list.logs if log.kind is LogKind.LICENCES]


def to_zip(files: Files) -> bytes:
    """Return a pack as one ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(files.items()):
            info = zipfile.ZipInfo(path, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = _MODE
            archive.writestr(info, content)
    return buffer.getvalue()


def write_zip(files: Files, target: Path) -> None:
    """Write a pack as one file; an earlier pack of that name is replaced at once.

    Raises:
        AlreadyExistsError: Something else has that name (``PACK_TARGET``).
        ConfigurationError: It cannot be written (``PACK_UNWRITABLE``).
    """
    if target.exists() and not (target.is_file() and zipfile.is_zipfile(target)):
        raise _in_the_way(target)
    with _draft(target) as draft:
        _write(draft, to_zip(files))
        draft.replace(target)
        _sync(target.parent)


def write_directory(files: Files, target: Path) -> None:
    """Write a pack as a directory; an earlier pack of that name is replaced.

    Raises:
        AlreadyExistsError: Something else has that name (``PACK_TARGET``).
        ConfigurationError: It cannot be written (``PACK_UNWRITABLE``).
    """
    if target.exists() and not _is_pack_directory(target):
        raise _in_the_way(target)
    with _draft(target) as draft:
        draft.mkdir()
        for path, content in files.items():
            place = draft / path
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(place, content)
        _move_into_place(draft, target)


def _move_into_place(draft: Path, target: Path) -> None:
    # A directory cannot be renamed over another; for an instant there is none.
    aside = target.with_name(f".{target.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if target.exists():
        target.rename(aside)
    draft.rename(target)
    _sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _is_pack_directory(target: Path) -> bool:
    if not target.is_dir():
        return False
    return (target / MANIFEST).is_file() or not any(target.iterdir())


def _in_the_way(target: Path) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"{target} is there and is not a pack; name another place", reason="PACK_TARGET"
    )


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    draft = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(draft)
        yield draft
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the pack {target}: {error.strerror}", reason="PACK_UNWRITABLE"
        ) from error
    finally:
        _remove(draft)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
