"""What a region publishes, served without a database: catalogue, subjects, log, status, pack."""

# ruff: noqa: ANN401, N802 - the contracts' method names, and messages made at run time

from __future__ import annotations

import io
import json
import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from support.clock import FixedClock
from support.hierarchy import REGION
from support.region_builder import Issued, RegionBuilder
from yinxin.licence import timestamp
from yinxin_proto import merkle
from yinxin_proto.error import NotFoundError, PermissionDeniedError
from yinxin_proto.name import TypeName
from yinxin_proto.v1 import (
    catalogue_pb2,
    catalogue_pb2_grpc,
    log_pb2,
    log_pb2_grpc,
    repository_pb2,
    repository_pb2_grpc,
    status_pb2,
    status_pb2_grpc,
    subject_pb2,
    subject_pb2_grpc,
)

T = TypeVar("T")

PAGE: Final = 2
"""Items on a page, however many are asked for."""
CATALOGUE: Final = Path(__file__).resolve().parents[2] / "trust" / "yinxin_trust" / "catalogue_data"


class PublicServices(
    catalogue_pb2_grpc.CatalogueServiceServicer,
    subject_pb2_grpc.SubjectServiceServicer,
    log_pb2_grpc.LogServiceServicer,
    status_pb2_grpc.StatusServiceServicer,
    repository_pb2_grpc.RepositoryServiceServicer,
):
    """The contracts that need no approval."""

    clock: FixedClock
    builder: RegionBuilder

    def __init__(self) -> None:
        self.types = {
            entry["code"]: entry
            for entry in (json.loads(path.read_bytes()) for path in CATALOGUE.glob("*.json"))
        }

    @abstractmethod
    def _came(self, request: Message) -> None:
        """Note a call; may refuse it."""

    @abstractmethod
    def logged(self) -> Sequence[Issued]:
        """The licences in the log."""

    # --- catalogue, subjects ------------------------------------------------------------

    def ListLicenceTypes(self, request: Any, context: Any) -> Any:
        self._came(request)
        page, token = take_page(sorted(self.types), request.page_token)
        listed = [self._type(code) for code in page]
        for entry in listed:
            entry.ClearField("definition")
        return catalogue_pb2.ListLicenceTypesResponse(licence_types=listed, next_page_token=token)

    def GetLicenceType(self, request: Any, context: Any) -> Any:
        self._came(request)
        return self._type(TypeName.parse(request.name).id)

    def CreateLicenceType(self, request: Any, context: Any) -> Any:
        self._came(request)
        raise PermissionDeniedError("the fake's catalogue is fixed", reason="ROLE")

    def _type(self, code: str) -> catalogue_pb2.LicenceType:
        entry = self.types.get(code)
        if entry is None:
            raise NotFoundError("no such type", reason="LICENCE_TYPE")
        made = catalogue_pb2.LicenceType(
            name=f"regions/{REGION}/licenceTypes/{code}",
            code=code,
            schema_version=entry["schema_version"],
            issue_mode=catalogue_pb2.ISSUE_MODE_ISSUE,
            min_holders=entry["min_holders"],
            max_holders=entry["max_holders"],
            number_types=entry["number_types"],
            validity=entry["validity"],
            definition=json.dumps(entry).encode(),
        )
        made.display_name.zh, made.display_name.en = entry["name"]["zh"], entry["name"]["en"]
        return made

    def RegisterSubject(self, request: Any, context: Any) -> subject_pb2.Subject:
        self._came(request)
        return self._subject(request.kind, list(request.numbers))

    def GetSubject(self, request: Any, context: Any) -> subject_pb2.Subject:
        self._came(request)
        return self._subject(subject_pb2.SUBJECT_KIND_PERSON, [])

    def LookupSubject(self, request: Any, context: Any) -> subject_pb2.Subject:
        self._came(request)
        return self._subject(subject_pb2.SUBJECT_KIND_PERSON, [request.number])

    def LinkIdentifier(self, request: Any, context: Any) -> subject_pb2.Subject:
        self._came(request)
        return self._subject(subject_pb2.SUBJECT_KIND_PERSON, [request.number])

    def _subject(self, kind: Any, numbers: list[Any]) -> subject_pb2.Subject:
        return subject_pb2.Subject(
            name=f"regions/{REGION}/subjects/abc123",
            kind=kind,
            identifiers=[
                subject_pb2.LinkedIdentifier(type=number.type, masked_value="3****6")
                for number in numbers
            ],
            etag="1",
        )

    # --- log, status, repository --------------------------------------------------------

    def GetCheckpoint(self, request: Any, context: Any) -> log_pb2.Checkpoint:
        self._came(request)
        return log_pb2.Checkpoint(note=self.builder.checkpoint())

    def GetTile(self, request: Any, context: Any) -> log_pb2.Tile:
        self._came(request)
        raise NotFoundError("no tiles here", reason="TILE")

    def GetReceipt(self, request: Any, context: Any) -> log_pb2.Receipt:
        self._came(request)
        for issued in self.logged():
            if issued.index == request.index:
                return log_pb2.Receipt(receipt=self.builder.receipt(issued).to_bytes())
        raise NotFoundError("no such entry", reason="INDEX_RANGE")

    def GetConsistencyProof(self, request: Any, context: Any) -> Any:
        self._came(request)
        return log_pb2.ConsistencyProof(
            hashes=merkle.consistency_proof(request.old_size, request.new_size, self.builder.node)
        )

    def GetStatusList(self, request: Any, context: Any) -> status_pb2.StatusList:
        self._came(request)
        now = timestamp(self.clock.now())
        return status_pb2.StatusList(
            uri=request.uri,
            token=self.builder.status_token(),
            issue_time=now,
            expire_time=now,
            log_size=len(self.builder.leaves),
        )

    def GetRepositoryFile(self, request: Any, context: Any) -> Any:
        self._came(request)
        found = self.builder.pack().get(request.path)
        if found is None:
            raise NotFoundError("no such file", reason="REPOSITORY_FILE")
        return repository_pb2.RepositoryFile(path=request.path, content=found)

    def ExportPack(self, request: Any, context: Any) -> Iterator[Any]:
        self._came(request)
        data = self.pack_zip()
        for start in range(0, len(data), 4096):
            yield repository_pb2.PackChunk(content=data[start : start + 4096])

    def pack_zip(self) -> bytes:
        """Return the offline pack as one file."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in self.builder.pack().items():
                archive.writestr(name, data)
        return out.getvalue()


def take_page(items: Sequence[T], token: str) -> tuple[Sequence[T], str]:
    """Return a page of items, and the token of the next one."""
    start = int(token or 0)
    following = start + PAGE
    return items[start:following], str(following) if following < len(items) else ""
