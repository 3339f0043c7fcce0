"""Fetching what offline verification needs: the trust repository, the offline pack."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Final

from yinxin.session import CallGroup
from yinxin.transport import BATCH_DEADLINE
from yinxin_proto.error import MalformedError
from yinxin_proto.v1.repository_pb2 import ExportPackRequest, GetRepositoryFileRequest
from yinxin_proto.v1.repository_pb2_grpc import RepositoryServiceStub
from yinxin_verifier.packfile import MAX_PACK_BYTES, ZipPack

PACK_NAME: Final = "pack-{region}.zip"


class RepositoryCalls(CallGroup):
    """Calls about the trust repository, which is public."""

    def repository_file(self, path: str) -> bytes:
        """Return one file of the trust repository; believe it through TUF alone.

        Raises:
            NotFoundError: There is no such file.
        """
        request = GetRepositoryFileRequest(parent=self._session.parent, path=path)
        transport = self._session.transport
        answer = transport.call(transport.stub(RepositoryServiceStub).GetRepositoryFile, request)
        return answer.content

    def export_pack(self, path: Path | str) -> Path:
        """Download the region's offline pack 离线核验包 as one file, and return where.

        It is put in place when it is whole. What is in it is believed by
        `yinxin.Verifier.open`, through a pinned root.

        Args:
            path: The file to make or replace, or a directory for it.

        Raises:
            MalformedError: Not a pack, or more than 512 MiB.
            OSError: It cannot be written.
        """
        target = Path(path)
        if target.is_dir():
            target = target / PACK_NAME.format(region=self._session.region)
        fresh = target.with_name(f".{target.name}.new")
        try:
            self._download(fresh)
            with closing(ZipPack(fresh)):
                fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
        return target

    def _download(self, fresh: Path) -> None:
        transport = self._session.transport
        method = transport.stub(RepositoryServiceStub).ExportPack
        request = ExportPackRequest(parent=self._session.parent)
        left = MAX_PACK_BYTES
        with fresh.open("wb") as file:
            for chunk in transport.stream(method, request, deadline=BATCH_DEADLINE):
                left -= len(chunk.content)
                if left < 0:
                    raise MalformedError("the pack has more than 512 MiB", reason="TOO_LARGE")
                file.write(chunk.content)
