"""A SoftHSM token of its own for each test that asks.

SoftHSM reads its settings once per process, from ``SOFTHSM2_CONF``: there is
one folder for the whole run, and each test gets a new token in it. Where
SoftHSM is not installed the tests are skipped, loudly; with
``YINXIN_REQUIRE_SOFTHSM=1`` they fail instead.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from yinxin_ca.pkcs11_module import open_module
from yinxin_edge.clock import SystemEntropy

PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
PIN = "4711-invented"
SO_PIN = "security-officer-invented"
_MISSING = "SoftHSM is not installed (apt-get install softhsm2)"


@dataclass(frozen=True, slots=True)
class SoftToken:
    """A token that nobody else uses."""

    module: Path
    label: str
    pin: str
    folder: Path
    """Where SoftHSM keeps this token; move it away and the token is gone."""
    settings: Path
    """What ``SOFTHSM2_CONF`` names, for other processes."""

    def take_away(self) -> None:
        self.folder.rename(self._aside)

    def put_back(self) -> None:
        self._aside.rename(self.folder)

    @property
    def _aside(self) -> Path:
        return self.folder.parent.with_name(self.folder.name)


def module_path() -> Path:
    """Skip or fail the calling test where there is no SoftHSM."""
    found = os.environ.get("YINXIN_TEST_PKCS11") or next(
        (place for place in PLACES if Path(place).exists()), None
    )
    if found is not None and shutil.which("softhsm2-util") is not None:
        return Path(found)
    if os.environ.get("YINXIN_REQUIRE_SOFTHSM") == "1":
        pytest.fail(f"{_MISSING}, and YINXIN_REQUIRE_SOFTHSM=1")
    pytest.skip(_MISSING)


@functools.cache
def _settings() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="yinxin-softhsm-"))
    (folder / "tokens").mkdir()
    path = folder / "softhsm2.conf"
    path.write_text(
        f"directories.tokendir = {folder / 'tokens'}\n"
        "objectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(path)
    return path


def new_token() -> SoftToken:
    """Initialise a token."""
    module, settings = module_path(), _settings()
    label = f"yinxin-{SystemEntropy().token(4).hex()}"
    tokens = settings.parent / "tokens"
    before = set(tokens.iterdir())
    options = ["--label", label, "--so-pin", SO_PIN, "--pin", PIN, "--module", str(module)]
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", *options],
        check=True,
        capture_output=True,
    )
    (folder,) = set(tokens.iterdir()) - before
    _notice_new_tokens(module)
    return SoftToken(module=module, label=label, pin=PIN, folder=folder, settings=settings)


def _notice_new_tokens(module: Path) -> None:
    """Let a module that is loaded already see what was made since."""
    opened = open_module(module)
    opened.restart(opened.gate.generation)


@pytest.fixture
def soft_token() -> Iterator[SoftToken]:
    """A fresh token."""
    token = new_token()
    yield token
    shutil.rmtree(token.folder, ignore_errors=True)
