"""A cryptographic machine of its own for each test: a mock of GM/T 0018 built by the tests.

It needs a C compiler and libcrypto's headers, and a libcrypto that knows SM2.
Where one is missing the tests are skipped, loudly; with ``YINXIN_REQUIRE_SDF=1``
they fail instead.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from yinxin_ca.sdf_device import SdfDevice
from yinxin_ca.sdf_library import SdfLibrary
from yinxin_proto.sm2 import SM2
from yinxin_proto.sm2provider import provider

SOURCE = Path(__file__).parent / "sdf_mock" / "sdf_mock.c"
CODE = "access-code-invented"
KEYS = 6


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder that the mock takes for its inside."""

    library: Path
    folder: Path
    code: str = CODE

    def open(self, *, code: str | None = None) -> SdfDevice:
        return SdfDevice(SdfLibrary(self.library), code=code or self.code)

    def make_key(self, index: int) -> bytes:
        """What the machine's own tool does; returns the public key."""
        key = SM2.generate()
        (self.folder / f"{index}.der").write_bytes(key.to_pkcs8())
        return key.public_key.spki

    def set(self, state: str, *, to: bool = True) -> None:
        """Make it ``gone``, ``busy`` or ``faulty``, or not."""
        path = self.folder / state
        if to:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    @property
    def wrong_codes(self) -> int:
        """How many wrong access codes it was offered."""
        path = self.folder / "tries"
        return path.stat().st_size if path.exists() else 0


@functools.cache
def _built() -> Path | str:
    """The library, or what is missing to build it."""
    if provider().find() is None:
        return "no libcrypto here knows SM2"
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return "there is no C compiler (apt-get install gcc)"
    library = Path(tempfile.mkdtemp(prefix="yinxin-sdf-")) / "libsdf_mock.so"
    words = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library)]
    done = subprocess.run(
        [*words, str(SOURCE), "-lcrypto", "-lpthread", "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return library
    if "openssl/" in done.stderr and "No such file" in done.stderr:
        return "libcrypto's headers are missing (apt-get install libssl-dev)"
    raise AssertionError(done.stderr)


def new_machine(folder: Path) -> Machine:
    """A machine with keys at the indexes 1 to 6; skips or fails the calling test without one."""
    built = _built()
    if isinstance(built, str):
        said = f"no mock of a cryptographic machine: {built}"
        if os.environ.get("YINXIN_REQUIRE_SDF") == "1":
            pytest.fail(f"{said}, and YINXIN_REQUIRE_SDF=1")
        pytest.skip(said)
    folder.mkdir()
    (folder / "code").write_text(CODE)
    # A copy for each machine: the library looks around where it lies.
    machine = Machine(Path(shutil.copy(built, folder)), folder)
    for index in range(1, KEYS + 1):
        machine.make_key(index)
    return machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A fresh machine."""
    return new_machine(tmp_path / "machine")
