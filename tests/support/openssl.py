"""OpenSSL's command line as an oracle, and what it makes itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


def openssl(
    *arguments: str | Path, cwd: Path | None = None, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command of OpenSSL; ``check`` raises where it fails."""
    assert OPENSSL is not None
    done = subprocess.run(
        [OPENSSL, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )
    if check and done.returncode != 0:
        raise AssertionError(done.stderr)
    return done
