"""An ordinary TUF client follows what the writer publishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import (
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    UnsignedMetadataError,
)
from tuf.ngclient import FetcherInterface, Updater

from support.clock import FixedClock
from support.trust_repository import LISTS, TRUST, PublishedRepository, key
from yinxin_proto.repository import ROLES

BASE = "https://trust.example/"
# The client asks the machine for the time; fixed metadata must outlast it.
LONG = dict.fromkeys(ROLES, timedelta(days=365 * 90))


class DictFetcher(FetcherInterface):
    """Fetches from a dict in place of a server."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._files.get(url.removeprefix(BASE))
        if data is None:
            raise DownloadHTTPError("not there", 404)
        return iter([data])


def client(published: PublishedRepository, folder: Path) -> Updater:
    (folder / "metadata").mkdir(exist_ok=True)
    (folder / "targets").mkdir(exist_ok=True)
    return Updater(
        str(folder / "metadata"),
        f"{BASE}metadata/",
        str(folder / "targets"),
        f"{BASE}targets/",
        fetcher=DictFetcher(published.files),
        bootstrap=published.pinned,
    )


def fetch(updater: Updater, path: str) -> bytes:
    info = updater.get_targetinfo(path)
    assert info is not None
    return Path(updater.download_target(info)).read_bytes()


@pytest.fixture
def published() -> PublishedRepository:
    return PublishedRepository(lifetimes=LONG)


def test_a_client_gets_every_target(published: PublishedRepository, tmp_path: Path) -> None:
    updater = client(published, tmp_path)
    assert fetch(updater, "trust.json") == TRUST
    for path, data in LISTS.items():
        assert fetch(updater, path) == data
    assert updater.get_targetinfo("status/never-was.jwt") is None


def test_a_client_follows_two_root_rotations_and_an_update(
    published: PublishedRepository, tmp_path: Path
) -> None:
    client(published, tmp_path).refresh()
    published.rotate("root", key(301))
    published.rotate("root", key(302), key(303))
    published.rotate("timestamp", key(304))
    published.rotate("snapshot", key(305))
    published.rotate("targets", key(306))
    published.update("status", {"status/a1.jwt": b"newer"})
    updater = client(published, tmp_path)
    assert fetch(updater, "status/a1.jwt") == b"newer"
    assert (tmp_path / "metadata" / "root_history" / "6.root.json").exists()
    assert published.load().versions["root"] == 6


def test_a_client_refuses_what_the_view_refuses(
    published: PublishedRepository, tmp_path: Path
) -> None:
    published.forge("status", lambda _: None, signers=[key(999)])
    with pytest.raises(UnsignedMetadataError):
        client(published, tmp_path).get_targetinfo("status/a1.jwt")


def test_a_client_refuses_an_altered_target(published: PublishedRepository, tmp_path: Path) -> None:
    path = next(path for path in published.files if path.endswith("trust.json"))
    published.files[path] = TRUST.replace(b"trust", b"false")
    updater = client(published, tmp_path)
    with pytest.raises(LengthOrHashMismatchError):
        fetch(updater, "trust.json")


def test_a_client_does_not_take_the_trust_list_from_an_online_role(
    published: PublishedRepository, tmp_path: Path
) -> None:
    claim = {"length": 2, "hashes": {"sha256": "0" * 64}}
    published.forge("status", lambda signed: signed["targets"].update({"trust.json": claim}))
    assert fetch(client(published, tmp_path), "trust.json") == TRUST


def test_a_client_refuses_a_frozen_state(tmp_path: Path) -> None:
    long_ago = FixedClock(datetime(2020, 1, 1, tzinfo=UTC))
    frozen = PublishedRepository(
        clock=long_ago, lifetimes={**LONG, "timestamp": timedelta(seconds=1)}
    )
    with pytest.raises(ExpiredMetadataError):
        client(frozen, tmp_path).refresh()
