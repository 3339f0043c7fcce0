"""The trust repository and offline packs over gRPC."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from support.running_region import (
    NOBODY,
    PARENT,
    RunningRegion,
    refused,
    running_on,
    violations,
)
from yinxin_edge.status import from_rpc_error
from yinxin_proto.error import InvalidArgumentError, NotFoundError
from yinxin_proto.repository import RepositoryView
from yinxin_proto.v1.repository_pb2 import ExportPackRequest, GetRepositoryFileRequest
from yinxin_proto.v1.repository_pb2_grpc import RepositoryServiceStub
from yinxin_trust.transition import Operation
from yinxin_verifier.decision import verify
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.pack import LoadedPack, PackLoader
from yinxin_verifier.policy import OFFLINE
from yinxin_verifier.report import Indication


def _export(running: RunningRegion, folder: Path) -> tuple[Path, LoadedPack]:
    file = folder / "pack.zip"
    with running.channel(NOBODY) as channel:
        chunks = list(RepositoryServiceStub(channel).ExportPack(ExportPackRequest(parent=PARENT)))
    assert all(len(chunk.content) <= 64 << 10 for chunk in chunks)
    file.write_bytes(b"".join(chunk.content for chunk in chunks))
    return file, PackLoader(trust_first_use=True).load(file, running.clock.now())


def test_a_pack_judges_offline_what_the_region_issued(
    stored: RunningRegion, tmp_path: Path
) -> None:
    licences = stored.issue_many(3)
    stored.change(licences[1], Operation.REVOKE)
    stored.issue()  # so that the change is in the log by now
    _, pack = _export(stored, tmp_path)

    verdicts = [
        verify(
            Evidence(licence=licence.licence_file, trust=pack.trust), OFFLINE, stored.clock.now()
        ).indication
        for licence in licences
    ]

    assert verdicts == [
        Indication.TOTAL_PASSED,
        Indication.TOTAL_FAILED,
        Indication.TOTAL_PASSED,
    ]
    assert not pack.refused_statuses


def test_a_pack_is_fresh_even_after_days_without_a_publication(tmp_path: Path) -> None:
    with running_on("sqlite") as running:
        licence = running.issue()
        running.clock.advance(days=3)
        _, pack = _export(running, tmp_path)
        report = verify(
            Evidence(licence=licence.licence_file, trust=pack.trust), OFFLINE, running.clock.now()
        )

    assert report.indication is Indication.TOTAL_PASSED, report.text


def test_a_client_walks_the_repository_file_by_file(running: RunningRegion) -> None:
    with running.channel(NOBODY) as channel:
        stub = RepositoryServiceStub(channel)

        def read(path: str) -> bytes | None:
            request = GetRepositoryFileRequest(parent=PARENT, path=path)
            try:
                return stub.GetRepositoryFile(request).content
            except grpc.RpcError as error:
                if isinstance(from_rpc_error(error), NotFoundError):
                    return None
                raise

        root = read("metadata/1.root.json")
        assert root is not None
        assert read("1.root.json") == root
        view = RepositoryView.load(root, read, running.clock.now())
        trust = view.target("trust.json")

    assert trust
    assert "status/1.jwt" in view.paths("status")


@pytest.mark.parametrize("path", ["", "../region.toml", "/etc/passwd", "a\0b", "x" * 500])
def test_what_is_no_path_is_refused(path: str, running: RunningRegion) -> None:
    with running.channel(NOBODY) as channel, refused(InvalidArgumentError) as caught:
        RepositoryServiceStub(channel).GetRepositoryFile(
            GetRepositoryFileRequest(parent=PARENT, path=path)
        )

    assert violations(caught[0]) == {"path": "PATH"}


def test_a_refused_export_is_on_record(running: RunningRegion) -> None:
    with (
        running.recording() as rows,
        running.channel(NOBODY) as channel,
        refused(InvalidArgumentError),
    ):
        list(RepositoryServiceStub(channel).ExportPack(ExportPackRequest(parent="regions/1")))

    assert [row["method"] for row in rows] == ["RepositoryService/ExportPack"]
