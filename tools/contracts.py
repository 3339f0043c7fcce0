"""Generate the modules of the gRPC contracts, or check that they are as committed.

    python tools/contracts.py generate   write proto/yinxin_proto/v1/*_pb2*
    python tools/contracts.py check      generate elsewhere; any difference fails
    python tools/contracts.py lint       buf lint, over a descriptor image

buf gets an image rather than the sources because ``google/api/*.proto`` comes
from the installed package googleapis-common-protos, not from a module registry.
"""

from __future__ import annotations

import argparse
import filecmp
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import google.api.annotations_pb2 as google_api
import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "proto"
CONTRACTS = SOURCES / "yinxin_proto" / "v1"
SCRIPTS = Path(sysconfig.get_path("scripts"))
INCLUDES = (
    SOURCES,
    Path(grpc_tools.__file__).parent / "_proto",
    Path(google_api.__file__).parent.parent.parent,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb asked for; return the exit status."""
    verbs: dict[str, Callable[[], int]] = {"generate": generate, "check": check, "lint": lint}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=verbs)
    return verbs[parser.parse_args(arguments).verb]()


def generate() -> int:
    """Write the generated modules beside their contracts, removing stale ones."""
    for stale in _generated(CONTRACTS):
        stale.unlink()
    _compile(SOURCES)
    return 0


def check() -> int:
    """Compare what would be generated with what is there."""
    with tempfile.TemporaryDirectory() as scratch:
        _compile(Path(scratch))
        fresh = Path(scratch) / "yinxin_proto" / "v1"
        names = {p.name for p in _generated(fresh)} | {p.name for p in _generated(CONTRACTS)}
        _, differing, missing = filecmp.cmpfiles(fresh, CONTRACTS, sorted(names), shallow=False)
    for name in sorted(differing + missing):
        print(f"{name}: differs from its contract; run make generate", file=sys.stderr)
    return 1 if differing or missing else 0


def lint() -> int:
    """Run ``buf lint`` with the rules of buf.yaml on our contracts alone."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "contracts.binpb"
        _protoc(["--include_imports", "--include_source_info", f"--descriptor_set_out={image}"])
        command = [str(SCRIPTS / "buf"), "lint", str(image), "--config", str(ROOT / "buf.yaml")]
        return subprocess.run([*command, "--path", "yinxin_proto"], check=False).returncode


def _compile(target: Path) -> None:
    _protoc(
        [
            f"--plugin=protoc-gen-mypy={SCRIPTS / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={SCRIPTS / 'protoc-gen-mypy_grpc'}",
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_out=quiet:{target}",
            f"--mypy_grpc_out=quiet,only_sync:{target}",
        ]
    )


def _protoc(options: Sequence[str]) -> None:
    includes = [f"-I{directory}" for directory in INCLUDES]
    contracts = [str(path) for path in sorted(CONTRACTS.glob("*.proto"))]
    if protoc.main(["protoc", *includes, *options, *contracts]):
        sys.exit("protoc failed; its message is above")


def _generated(directory: Path) -> list[Path]:
    return [p for p in sorted(directory.glob("*_pb2*")) if p.suffix in {".py", ".pyi"}]


if __name__ == "__main__":
    sys.exit(main())
