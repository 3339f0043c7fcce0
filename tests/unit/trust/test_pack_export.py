"""Packs: whole or not there, of one moment, readable by the verifier's own reader."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.small_region import SmallRegion
from yinxin_proto.error import AlreadyExistsError, ConfigurationError, VerificationError
from yinxin_trust import pack_export
from yinxin_trust.ledger import LICENCES, receipt
from yinxin_trust.pack_export import collect, to_zip, write_directory, write_zip
from yinxin_trust.refresh import refresh
from yinxin_verifier.decision import verify
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.pack import LoadedPack, PackLoader
from yinxin_verifier.packfile import MANIFEST
from yinxin_verifier.policy import OFFLINE
from yinxin_verifier.report import Indication


def collected(small: SmallRegion) -> Mapping[str, bytes]:
    with small.region.storage.read() as conn:
        return collect(conn, small.clock.now())


def load(small: SmallRegion, path: Path) -> LoadedPack:
    return PackLoader(trust_first_use=True).load(path, small.clock.now())


def test_directory_and_archive_hold_the_same(small: SmallRegion, tmp_path: Path) -> None:
    files = collected(small)
    write_directory(files, tmp_path / "pack")
    write_zip(files, tmp_path / "pack.zip")

    one, other = load(small, tmp_path / "pack"), load(small, tmp_path / "pack.zip")

    assert one.root_fingerprint == other.root_fingerprint
    assert one.view.versions == other.view.versions
    with zipfile.ZipFile(tmp_path / "pack.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == dict(files)


def test_the_same_state_is_the_same_archive(small: SmallRegion) -> None:
    assert to_zip(collected(small)) == to_zip(collected(small))


def test_a_licence_passes_from_the_pack(small: SmallRegion, tmp_path: Path) -> None:
    record = small.issue_one()
    small.region.sequence()
    refresh(small.region)
    write_zip(collected(small), tmp_path / "pack.zip")
    pack = load(small, tmp_path / "pack.zip")
    with small.region.storage.read() as conn:
        licence = record.file(receipt(conn, LICENCES, record.entry))

    report = verify(Evidence(licence=licence, trust=pack.trust), OFFLINE, small.clock.now())

    assert report.indication is Indication.TOTAL_PASSED, report.text
    checkpoint = next(check for check in report.checks if check.name == "checkpoint")
    assert "与核验包检查点一致" in checkpoint.evidence.zh


@pytest.mark.parametrize("write", [write_directory, write_zip])
def test_an_earlier_pack_is_replaced(write: object, small: SmallRegion, tmp_path: Path) -> None:
    assert callable(write)
    target = tmp_path / "pack"
    write(collected(small), target)
    small.issue_one()
    small.region.sequence()
    refresh(small.region)
    write(collected(small), target)

    assert load(small, target).view.versions["status"] > 1
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


@pytest.mark.parametrize("write", [write_directory, write_zip])
def test_what_is_no_pack_is_not_replaced(write: object, small: SmallRegion, tmp_path: Path) -> None:
    assert callable(write)
    folder, file = tmp_path / "home", tmp_path / "letter"
    folder.mkdir()
    (folder / "letter").write_text("dear")
    file.write_text("dear")

    for target in (folder, file):
        with pytest.raises(AlreadyExistsError) as caught:
            write(collected(small), target)
        assert caught.value.reason == "PACK_TARGET"
    assert file.read_text() == (folder / "letter").read_text() == "dear"


@pytest.mark.parametrize("write", [write_directory, write_zip])
def test_an_export_that_fails_leaves_the_earlier_pack(
    write: object, small: SmallRegion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(write)
    target = tmp_path / "pack"
    write(collected(small), target)

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pack_export, "_write", full)
    with pytest.raises(ConfigurationError) as caught:
        write(collected(small), target)

    assert caught.value.reason == "PACK_UNWRITABLE"
    assert load(small, target).root_fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_an_empty_directory_takes_a_pack(small: SmallRegion, tmp_path: Path) -> None:
    write_directory(collected(small), tmp_path)

    assert (tmp_path / MANIFEST).is_file()


def test_a_pack_outlives_what_is_signed_every_day(small: SmallRegion, tmp_path: Path) -> None:
    refresh(small.region)
    small.later(days=20)
    write_zip(collected(small), tmp_path / "pack.zip")

    assert "timestamp" in load(small, tmp_path / "pack.zip").view.expired


def test_a_pack_needs_trust_that_has_not_run_out(small: SmallRegion) -> None:
    small.later(days=366)

    with pytest.raises(VerificationError):
        collected(small)
