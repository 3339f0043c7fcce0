"""The environment names the SM2 library; it is loaded when it is needed, and refused then."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
from yinxin_edge.libcrypto import choose_libcrypto
from yinxin_proto.error import YinxinError
from yinxin_proto.sm2provider import provider
choose_libcrypto()
choose_libcrypto()
try:
    print(provider().require().name)
except YinxinError as error:
    print(error.reason)
"""


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("", "libcrypto.so.3"),
        ("libcrypto.so", "libcrypto.so"),
        ("libno-such-crypto.so", "SM2_UNAVAILABLE"),
        ("libc.so.6", "SM2_UNAVAILABLE"),
    ],
)
def test_the_library_is_the_one_that_the_environment_names(named: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"YINXIN_LIBCRYPTO": named},
        capture_output=True,
        text=True,
        check=True,
    )
    if named == "libcrypto.so" and done.stdout.strip() == "SM2_UNAVAILABLE":
        pytest.skip("the name without a version comes with the development files alone")
    assert done.stdout.strip() == said
