"""``yinxin type``: the region's catalogue of licence types."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from yinxin_edge.terminal import Terminal
from yinxin_edge.terminal.text import Language
from yinxin_proto.error import ConfigurationError
from yinxin_trust.catalogue import (
    LONG_TERM,
    MAX_DOCUMENT_BYTES,
    LicenceType,
    add_type,
    load_catalogue,
    parse_type,
)
from yinxin_trust.command.authority import find_type
from yinxin_trust.command.opening import RegionDirectory, open_region
from yinxin_trust.command.passphrase import PassphraseFile, PassphraseSource
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.directory import touch
from yinxin_trust.founding import catalogue_targets
from yinxin_trust.rows import milliseconds

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def licence_type() -> None:
    """The region's catalogue of licence types."""


@app.command("list")
def list_types(
    context: typer.Context, directory: RegionDirectory, passphrase_file: PassphraseFile = None
) -> None:
    """List the licence types, each at its newest schema version."""
    terminal = terminal_of(context)
    with (
        open_region(directory, PassphraseSource(terminal=terminal, file=passphrase_file)) as region,
        region.storage.read() as conn,
    ):
        catalogue = load_catalogue(conn)
    columns = [terminal.text(f"type.{name}") for name in ("code", "version", "name", "mode")]
    rows = [
        (entry.code, entry.schema_version, _name(terminal, entry), _mode(terminal, entry))
        for entry in catalogue.newest()
    ]
    terminal.table(columns, rows)


@app.command("show")
def show_type(
    context: typer.Context,
    directory: RegionDirectory,
    code: Annotated[str, typer.Argument(metavar="CODE", show_default=False)],
    version: Annotated[
        int | None, typer.Option("--version", metavar="NUMBER", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show one licence type with its fields."""
    terminal = terminal_of(context)
    with (
        open_region(directory, PassphraseSource(terminal=terminal, file=passphrase_file)) as region,
        region.storage.read() as conn,
    ):
        catalogue = load_catalogue(conn)
    entry = catalogue.get(find_type(catalogue, code), version)
    if as_json:
        terminal.json(dict(entry.document))
        return
    members = [
        (terminal.text("type.code"), entry.code),
        (terminal.text("type.version"), entry.schema_version),
        (terminal.text("type.mode"), _mode(terminal, entry)),
        (terminal.text("type.holders"), _holders(entry)),
        (terminal.text("type.validity"), _validity(terminal, str(entry.document["validity"]))),
    ]
    terminal.record(_name(terminal, entry), members)
    columns = [terminal.text(f"type.{name}") for name in ("field", "label", "required", "form")]
    terminal.table(columns, [_field(terminal, entry, name) for name in _fields(entry)])


@app.command("add")
def add(
    context: typer.Context,
    directory: RegionDirectory,
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Add a licence type, or the next schema version of one, from a catalogue document."""
    terminal = terminal_of(context)
    entry = parse_type(_read(file))
    with (
        open_region(directory, PassphraseSource(terminal=terminal, file=passphrase_file)) as region,
        region.storage.write() as conn,
    ):
        add_type(conn, entry, now_ms=milliseconds(region.clock.now()))
        touch(conn)
        region.publication.publish(conn, {"catalogue": catalogue_targets([entry])})
    terminal.line(
        "type.added", style="green", name=_name(terminal, entry), version=entry.schema_version
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", reason="FILE") from error


def _name(terminal: Terminal, entry: LicenceType) -> str:
    return _words(terminal, entry.document["name"])


def _mode(terminal: Terminal, entry: LicenceType) -> str:
    return terminal.text("type.issued" if entry.is_issuable else "type.verified")


def _holders(entry: LicenceType) -> str:
    low, high = entry.document["min_holders"], entry.document["max_holders"]
    return str(low) if low == high else f"{low}–{high}"


def _validity(terminal: Terminal, period: str) -> str:
    if period == LONG_TERM:
        return terminal.text("type.long_term")
    units = {"Y": "years", "M": "months"}
    parts = re.findall(r"(\d+)([YM])", period)
    return " ".join(terminal.text(f"type.{units[unit]}", **{units[unit]: n}) for n, unit in parts)


def _fields(entry: LicenceType) -> list[str]:
    return list(entry.document["fields"].get("properties", ()))


def _field(terminal: Terminal, entry: LicenceType, name: str) -> tuple[str, str, str, str]:
    shape: dict[str, Any] = entry.document["fields"]["properties"][name]
    required = terminal.text("type.yes") if name in entry.required_fields else ""
    label = _words(terminal, entry.document["display_names"].get(name, {}))
    return name, label, required, _form(shape)


def _form(shape: dict[str, Any]) -> str:
    if "enum" in shape:
        return " | ".join(map(str, shape["enum"]))
    if "pattern" in shape:
        return str(shape["pattern"])
    return f"≤ {shape['maxLength']}" if "maxLength" in shape else ""


def _words(terminal: Terminal, pair: dict[str, str]) -> str:
    return pair.get("zh" if terminal.language is Language.ZH else "en", "")
