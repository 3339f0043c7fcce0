"""RepositoryService: the trust repository, file by file or as an offline pack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import grpc

from yinxin_proto.clock import Clock
from yinxin_proto.error import NotFoundError
from yinxin_proto.v1.repository_pb2 import (
    ExportPackRequest,
    GetRepositoryFileRequest,
    PackChunk,
    RepositoryFile,
)
from yinxin_proto.v1.repository_pb2_grpc import RepositoryServiceServicer
from yinxin_trust.pack_export import collect, to_zip
from yinxin_trust.publication import reader
from yinxin_trust.refresh import Refresher
from yinxin_trust.service.admission import Admission
from yinxin_trust.storage import Storage

CHUNK_BYTES: Final = 64 << 10
_TOP_LEVEL: Final = re.compile(r"[a-z0-9.]{1,64}\.json")
_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,399}")


class RepositoryServicer(RepositoryServiceServicer):
    """Serves what verifiers need to trust the region.

    Args:
        admission: Who may call.
        storage: The region's database.
        refresher: Signs what is due before a pack is made.
        clock: Dates the pack.
    """

    def __init__(
        self, *, admission: Admission, storage: Storage, refresher: Refresher, clock: Clock
    ) -> None:
        self._admission = admission
        self._storage = storage
        self._refresher = refresher
        self._clock = clock

    def GetRepositoryFile(
        self, request: GetRepositoryFileRequest, context: grpc.ServicerContext
    ) -> RepositoryFile:
        """Get one file, as a TUF client asks for it; metadata also without its folder."""
        with self._admission.admit(request.context) as visit:
            visit.form.parent(request.parent)
            path = request.path
            if _PATH.fullmatch(path) is None:
                visit.form.refuse("path", "not a path within a repository", "PATH")
            visit.form.check()
            if _TOP_LEVEL.fullmatch(path) is not None:
                path = f"metadata/{path}"
            with self._storage.read() as conn:
                content = reader(conn)(path)
            if content is None:
                raise NotFoundError("the repository has no such file", reason="FILE")
            visit.resource(path)
            return RepositoryFile(path=request.path, content=content)

    def ExportPack(
        self, request: ExportPackRequest, context: grpc.ServicerContext
    ) -> Iterator[PackChunk]:
        """Stream an offline pack, fresh and of one moment."""
        with self._admission.admit(request.context) as visit:
            visit.form.parent(request.parent)
            visit.form.check()
            visit.resource(request.parent)
            self._refresher.run_once()
            with self._storage.read() as conn:
                files = collect(conn, self._clock.now())
            archive = to_zip(files)
        # On record by now: a client that goes away cannot undo that.
        for at in range(0, len(archive), CHUNK_BYTES):
            visit.call.check_deadline()
            yield PackChunk(content=archive[at : at + CHUNK_BYTES])
