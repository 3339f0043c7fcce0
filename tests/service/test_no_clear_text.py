"""Whoever copies the files of a region learns nobody's number and nobody's name.

Database files with their write-ahead log, every value of every table, tiles,
packs, registers and the journal are searched byte by byte, in every form in
which a number or a name could hide: UTF-8, UTF-16, base64 at each alignment,
hexadecimal, and the plain hashes that a list of candidates would undo.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from support.postgres import temporary_schema
from support.requests import citizen
from support.running_region import PARENT, REGISTRAR, RunningRegion, refused
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.v1.common_pb2 import CallContext, SubjectNumber
from yinxin_proto.v1.issuance_pb2_grpc import IssuanceServiceStub
from yinxin_proto.v1.licence_pb2 import ListLicencesRequest
from yinxin_proto.v1.licence_pb2_grpc import LicenceServiceStub
from yinxin_trust import pack_export, schema
from yinxin_trust.refresh import refresh
from yinxin_trust.transition import Operation

HOLDERS = [
    {"name": "欧阳虚构无名氏", "number": citizen(771), "number_type": "111"},
    {"name": "司马虚构无姓氏", "number": citizen(772), "number_type": "111"},
]
LICENCE_NUMBER = "证字第" + citizen(771) + "号"
PREMISES = "虚构市不存在路七百七十一号"
SECRETS = [HOLDERS[0]["name"], HOLDERS[1]["name"], citizen(771), citizen(772), PREMISES]


def forms(secret: str) -> Iterator[bytes]:
    """Every spelling in which a secret would be readable, or undone by guessing."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        raw = secret.encode(encoding)
        yield raw
        yield raw.hex().encode()
        for shift in range(3):
            # The characters that depend on neighbours are cut off at both ends.
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                text = encode(b"\0" * shift + raw).rstrip(b"=")
                yield text[4 if shift else 0 : len(text) - 2]
    for name in ("sha256", "sha1", "md5", "sm3"):
        if name in hashlib.algorithms_available:
            digest = hashlib.new(name, secret.encode(), usedforsecurity=False)
            yield digest.digest()
            yield digest.hexdigest().encode()
    yield secret.encode("unicode_escape")


NEEDLES = [form for secret in SECRETS for form in forms(secret)]


def findings(place: str, data: bytes) -> list[str]:
    return [place for needle in NEEDLES if needle in data]


def found_in_files(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [found for path in files for found in findings(str(path), path.read_bytes())]


def found_in_tables(running: RunningRegion) -> list[str]:
    found = []
    with running.region.storage.read() as conn:
        for table in schema.metadata.sorted_tables:
            for row in conn.execute(select(table)):
                for column, value in row._mapping.items():
                    raw = bytes(value) if isinstance(value, bytes | memoryview) else str(value)
                    data = raw if isinstance(raw, bytes) else raw.encode()
                    found += findings(f"{table.name}.{column}", data)
    return found


def work(running: RunningRegion) -> None:
    """Let the secrets through every path: issue, refuse, list, change, publish."""
    fields = {"KZ_JYCS": PREMISES, "KZ_JYXM": HOLDERS[0]["name"]}
    licence = running.issue(holders=HOLDERS, number=LICENCE_NUMBER, fields=fields)
    running.change(licence, Operation.SUSPEND)
    with running.channel() as channel:
        stub = IssuanceServiceStub(channel)
        wrong = running.request(holders=HOLDERS, fields={**fields, "KZ_NOPE": citizen(771)})
        with refused(InvalidArgumentError) as caught:
            stub.IssueLicence(running.issue_message(wrong), timeout=30)
        assert findings("error", str(caught[0]).encode()) == []
        with refused(InvalidArgumentError) as caught:
            context = CallContext(purpose=f"为{citizen(771)}办理")
            stub.IssueLicence(running.issue_message(context=context), timeout=30)
        assert findings("error", str(caught[0]).encode()) == []
    with running.channel(REGISTRAR) as channel:
        answer = LicenceServiceStub(channel).ListLicences(
            ListLicencesRequest(
                context=CallContext(purpose="虚构查询"),
                parent=PARENT,
                holder=SubjectNumber(type="111", value=citizen(772)),
            ),
            timeout=30,
        )
    assert [found.name for found in answer.licences] == [licence.name]
    running.region.sequence()
    assert refresh(running.region)


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'region.db'}"
    else:
        with temporary_schema() as url:
            yield url


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_file_table_pack_or_journal_holds_a_number_or_a_name(kind: str, tmp_path: Path) -> None:
    region_folder, pack_folder = tmp_path / "region", tmp_path / "pack"
    region_folder.mkdir()
    with database(kind, region_folder) as url, RunningRegion.start(url) as running:
        work(running)
        with running.region.storage.read() as conn:
            files = pack_export.collect(conn, running.clock.now())
        pack_export.write_directory(files, pack_folder)
        assert found_in_tables(running) == []
        assert found_in_files(pack_folder) == []
        assert findings("journal", running.journal.getvalue().encode()) == []
        if kind == "sqlite":
            # While it runs, so that the write-ahead log is still there.
            assert (region_folder / "region.db-wal").exists()
            assert found_in_files(region_folder) == []


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    for position, secret in enumerate(SECRETS):
        (tmp_path / f"{position}.txt").write_bytes(b"xx" + secret.encode() + b"yy")
        text = base64.urlsafe_b64encode(b"{" * position + secret.encode() + b"tail")
        (tmp_path / f"{position}.b64").write_bytes(text)
    assert {Path(found).name for found in found_in_files(tmp_path)} == {
        f"{position}.{kind}" for position in range(len(SECRETS)) for kind in ("txt", "b64")
    }
