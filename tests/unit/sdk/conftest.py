"""One small real region for a test, behind a real server, and a command line that calls it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import yinxin
from support.connection import client_identity, present_hierarchy, server_identity
from support.fake_region import FakeRegion, pem
from support.hierarchy import DOMAIN, REGION
from support.region_builder import CODE
from yinxin import Client, Context
from yinxin.command import main
from yinxin_edge.tls import server_credentials


@pytest.fixture
def region() -> FakeRegion:
    return FakeRegion()


@pytest.fixture
def address(region: FakeRegion) -> Iterator[str]:
    with region.serve() as served:
        yield served


@pytest.fixture
def client(region: FakeRegion, address: str) -> Iterator[Client]:
    with yinxin.connect(address, credentials=region.credentials()) as made:
        yield made


@pytest.fixture
def context() -> Context:
    return Context("不动产转移登记", case_number="SL20260101000001", operator="窗口01")


@dataclass(frozen=True)
class Answer:
    """What a command exited with, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever it printed
        """What it printed, as JSON."""
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in this process, as from a pipe."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("LANG", "SERVER", "CREDENTIALS", "PURPOSE", "OPERATOR", "APPROVAL_PASSPHRASE"):
        monkeypatch.delenv(f"YINXIN_{name}", raising=False)

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Answer(status, printed.out, printed.err)

    return call


@pytest.fixture
def online(
    region: FakeRegion, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """The same, with a served region and an authority's credentials in the environment."""
    hierarchy = present_hierarchy()
    identity = client_identity(hierarchy)
    folder = tmp_path / "credentials"
    folder.mkdir()
    stated = {"region": REGION, "domain": DOMAIN, "authority": CODE}
    for name, data in (
        ("client.crt", identity.certificate_chain),
        ("client.key", identity.private_key),
        ("tls-anchor.crt", identity.roots),
        ("approval.key", pem(region.approval_key, "口令")),
        ("region.json", json.dumps(stated).encode()),
    ):
        (folder / name).write_bytes(data)
    tls = server_credentials(server_identity(hierarchy, hierarchy.tls.certificate))
    with region.serve(tls) as address:
        monkeypatch.setenv("YINXIN_SERVER", address)
        monkeypatch.setenv("YINXIN_CREDENTIALS", str(folder))
        monkeypatch.setenv("YINXIN_PURPOSE", "不动产转移登记")
        monkeypatch.setenv("YINXIN_APPROVAL_PASSPHRASE", "口令")
        yield run
