"""Write the pages under docs/reference that say what the code says.

python tools/make_reference.py           write them
python tools/make_reference.py --check   fail when one there differs
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from yinxin_proto.operation import OPERATIONS
from yinxin_trust import keystage
from yinxin_trust.keycatalogue import keys_table
from yinxin_trust.transition import transition_table
from yinxin_verifier.decision import steps_table

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "reference"
CONTRACTS = ROOT / "proto" / "yinxin_proto" / "v1"
OFFICER_TEXTS = ROOT / "sdk" / "yinxin" / "command" / "texts.toml"
CATALOGUE = ROOT / "trust" / "yinxin_trust" / "catalogue_data"
RPC = re.compile(r"  rpc (\w+)\((\w+)\) returns \((?:stream )?(\w+)\)")
SERVICE = re.compile(r"service (\w+) \{")


def main() -> int:
    """Write the pages, or compare them; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    pages = {name: f"{_NOTE}\n{write()}" for name, write in PAGES.items()}
    if parser.parse_args().check:
        return _check(pages)
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (TARGET / name).write_text(text, encoding="utf-8")
    return 0


def _check(pages: dict[str, str]) -> int:
    stale = [
        name
        for name, text in pages.items()
        if not (TARGET / name).exists() or (TARGET / name).read_text(encoding="utf-8") != text
    ]
    for name in stale:
        print(f"docs/reference/{name} differs from the code; run make docs", file=sys.stderr)
    return 1 if stale else 0


def contracts() -> str:
    """Return the services and methods of the API, with the comments of the contracts."""
    lines = ["# The API: `package yinxin.v1`", ""]
    for path in sorted(CONTRACTS.glob("*.proto")):
        lines += _contract(path)
    return "\n".join(lines)


def _contract(path: Path) -> Iterator[str]:
    comment: list[str] = []
    inside = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("//"):
            comment.append(line.lstrip()[2:].strip())
            continue
        service, method = SERVICE.match(line), RPC.match(line)
        if service is not None:
            inside = True
            yield from (f"## {service[1]}", "", " ".join(comment), "")
            yield from ("| method | request | answer | |", "|---|---|---|---|")
        elif method is not None:
            yield f"| `{method[1]}` | `{method[2]}` | `{method[3]}` | {' '.join(comment)} |"
        elif inside and line == "}":
            inside = False
            yield ""
        comment = []


def licence_types() -> str:
    """Return the types that a region starts with, and their fields."""
    lines = ["# Licence types", ""]
    for path in sorted(CATALOGUE.glob("*.json")):
        entry = json.loads(path.read_bytes())
        required = set(entry["fields"]["required"])
        author = entry["defining_authority"]["name"]
        mode = "" if entry["issue_mode"] == "issue" else ", verified only 仅核验"
        lines += [
            f"## {entry['name']['zh']} {entry['name']['en']}",
            "",
            f"`{entry['code']}`, fields version {entry['schema_version']}.",
            f"Defined by {author}; validity {entry['validity']}{mode}.",
            "",
            "| field | 中文 | English | |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{name}` | {text['zh']} | {text['en']} | {'required' * (name in required)} |"
            for name, text in entry["display_names"].items()
        ]
        lines.append("")
    return "\n".join(lines)


def verdict() -> str:
    """Return the steps of the verdict."""
    return f"# The steps of a verdict\n\n{steps_table()}"


def lifecycle() -> str:
    """Return what can be done to a licence."""
    return f"# The lifecycle of a licence\n\n{transition_table()}"


def key_lifecycle() -> str:
    """Return what can be done to a key."""
    return f"# The life of a key\n\n{keystage.transition_table()}"


def keys() -> str:
    """Return every key that there is, and what takes more than one person."""
    lines = ["# Keys and operations", "", keys_table(), "## What officers sign", ""]
    lines += ["| operation | persons | |", "|---|---|---|"]
    texts = tomllib.loads(OFFICER_TEXTS.read_text(encoding="utf-8"))["officer"]["action"]
    for action, persons in OPERATIONS.items():
        text = texts[action.value]
        lines.append(f"| `{action.value}` | {persons} | {text['zh']} {text['en']} |")
    return "\n".join(lines) + "\n"


_NOTE = "<!-- Written by make docs; edit the code that it comes from. -->\n"
PAGES: dict[str, Callable[[], str]] = {
    "api.md": contracts,
    "key-lifecycle.md": key_lifecycle,
    "keys.md": keys,
    "licence-types.md": licence_types,
    "lifecycle.md": lifecycle,
    "verdict.md": verdict,
}


if __name__ == "__main__":
    sys.exit(main())
