"""A region's settings: ``region.toml`` in its directory, and the environment.

The names and the suite are fixed when a region is founded, since they stand
inside every licence; the rest may change between starts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from yinxin_ca.location import Locations
from yinxin_ca.storecipher import AES_256_GCM, SM4_GCM
from yinxin_edge.config import load, load_file
from yinxin_proto.error import ConfigurationError
from yinxin_proto.suite import suite
from yinxin_trust.keysettings import KeysTable, Pkcs11Table, RemoteTable, SdfTable
from yinxin_trust.namespace import Namespace
from yinxin_trust.suites import RegionSuites

FILE: Final = "region.toml"
DEFAULT_DATABASE: Final = "region.db"
_TABLE: Final = "[database]"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionTable:
    """``[region]``."""

    code: str
    """GB/T 2260, six digits."""
    domain: str
    name: str
    suite: str = "ES256"
    """Of licences, status lists and approvals, and of the authorities above them."""
    root_suite: str = ""
    """Of the root certificate; empty: the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseTable:
    """``[database]``."""

    url: str = ""
    """Empty: ``region.db`` in the region's directory (SQLite)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTable:
    """``[server]``."""

    listen: str = "127.0.0.1:8443"
    """``host:port``; port 0 takes a free one."""
    names: tuple[str, ...] = ("localhost",)
    """DNS names in the server's certificate."""
    addresses: tuple[str, ...] = ("127.0.0.1",)
    """IP addresses in the server's certificate."""
    workers: int = 2
    """Worker processes."""
    threads: int = 48
    """Calls in progress at once, in each worker."""
    sequencing_period: timedelta = timedelta(milliseconds=200)
    """How often waiting log entries are sequenced."""
    publication_period: timedelta = timedelta(seconds=60)
    """How often status lists and the repository's online roles are refreshed."""
    receipt_patience: timedelta = timedelta(seconds=10)
    """How long an issue waits for its receipt."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 256 or not 1 <= self.threads <= 1024:
            raise ConfigurationError("workers: 1 to 256, threads: 1 to 1024", reason="SERVER")
        if self.sequencing_period < timedelta(milliseconds=10):
            raise ConfigurationError("sequencing_period: 10ms at least", reason="SERVER")


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationTable:
    """``[rotation]``: when keys are due, and how long each step of a rotation waits."""

    publish_wait: timedelta = timedelta(days=1)
    """From publication to first use. What a verifier holds of the repository is
    at most as old as its timestamp role lives: a day. Only then does everybody
    know a key who has to judge it."""
    settle: timedelta = timedelta(minutes=10)
    """From the last use to whatever relies on there being no more: longer than
    any call may take."""
    destroy_after: timedelta = timedelta(days=30)
    """From retirement to destruction; backups of the database that need a key
    are of no use after it."""
    licence: timedelta = timedelta(days=730)
    """How old keys may become, by purpose: those that sign licences;"""
    approval: timedelta = timedelta(days=730)
    """those by which authorities approve;"""
    status: timedelta = timedelta(days=300)
    """the one that signs status lists;"""
    log: timedelta = timedelta(days=1825)
    """the logs';"""
    authority: timedelta = timedelta(days=2920)
    """the issuing CAs';"""
    repository: timedelta = timedelta(days=700)
    """the trust repository's roles';"""
    server: timedelta = timedelta(days=365)
    """the servers', the OCSP responders' and the time-stampers';"""
    secret: timedelta = timedelta(days=730)
    """those that index numbers and wrap data keys."""
    automatic: bool = False
    """Whether the server begins what is due by itself, as far as it needs no offline key."""

    def __post_init__(self) -> None:
        waits = (self.publish_wait, self.settle, self.destroy_after)
        if min(waits) < timedelta(0):
            raise ConfigurationError("[rotation]: a wait is not negative", reason="ROTATION")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTable:
    """``[http]``: lists, certificates, OCSP and time-stamps, over plain HTTP."""

    listen: str = ""
    """``host:port``; empty: nothing is served over HTTP."""
    public_url: str = ""
    """``http://host[:port]`` under which others reach it; stands in new certificates."""
    crl_shards: int = 1
    """Into how many revocation lists an authority's new certificates are sorted."""
    threads: int = 8
    """Requests answered at once."""

    def __post_init__(self) -> None:
        if not 1 <= self.threads <= 256:
            raise ConfigurationError("threads: 1 to 256", reason="HTTP")
        if self.public_url.endswith("/"):
            raise ConfigurationError("public_url: without a slash at its end", reason="HTTP")
        if self.crl_shards != 1 and not self.public_url:
            raise ConfigurationError(
                "crl_shards: shards are found by their URL; set public_url", reason="HTTP"
            )
        if self.public_url:
            # What would stand in certificates is refused here, not in the middle of signing one.
            longest = "timestamp-999999-s4095.crl"
            Locations(crl=f"{self.public_url}/crl/{longest}", shards=self.crl_shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of ``region.toml``."""

    region: RegionTable
    database: DatabaseTable = field(default_factory=DatabaseTable)
    server: ServerTable = field(default_factory=ServerTable)
    keys: KeysTable = field(default_factory=KeysTable)
    rotation: RotationTable = field(default_factory=RotationTable)
    http: HttpTable = field(default_factory=HttpTable)

    @property
    def namespace(self) -> Namespace:
        """The names that the region gives out."""
        return Namespace(
            code=self.region.code,
            domain=self.region.domain,
            name=self.region.name,
            public_url=self.http.public_url,
            crl_shards=self.http.crl_shards,
        )

    @property
    def suites(self) -> RegionSuites:
        """Which suite each key belongs to.

        Raises:
            ConfigurationError: This build lacks one (``UNKNOWN_SUITE``).
        """
        own = suite(self.region.suite)
        return RegionSuites(own, suite(self.region.root_suite) if self.region.root_suite else own)

    @property
    def key_file_cipher(self) -> str:
        """What the region's key directories are sealed under."""
        return SM4_GCM if self.suites.is_commercial else AES_256_GCM

    def database_url(self, directory: Path) -> str:
        """Return where the database is."""
        return self.database.url or f"sqlite:///{(directory / DEFAULT_DATABASE).absolute()}"


def load_settings(directory: Path) -> Settings:
    """Read the settings of a founded region.

    Raises:
        ConfigurationError: Not a region's directory, or settings that cannot
            be used, all at once.
    """
    path = directory / FILE
    if not path.is_file():
        raise ConfigurationError(
            f"{directory} is not a region's directory: it has no {FILE}; "
            "make one with: yinxin region init",
            reason="NOT_A_REGION",
        )
    return load_file(Settings, path)


def write_settings(directory: Path, settings: Settings) -> None:
    """Write the settings that a founding fixes."""
    region = settings.region
    quoted = {
        "code": region.code,
        "domain": region.domain,
        "name": region.name,
        "suite": region.suite,
        "root_suite": region.root_suite,
    }
    lines = ["# Fixed when the region was founded: these names stand inside licences.", "[region]"]
    lines += [f"{key} = {toml_text(value)}" for key, value in quoted.items()]
    lines += ["", "[database]", f"url = {toml_text(settings.database.url)}"]
    lines += ["", "[server]", f"listen = {toml_text(settings.server.listen)}"]
    lines += [f"names = [{', '.join(map(toml_text, settings.server.names))}]"]
    lines += [f"addresses = [{', '.join(map(toml_text, settings.server.addresses))}]"]
    lines += [f"workers = {settings.server.workers}", ""]
    if settings.http != HttpTable():
        lines += ["[http]", f"listen = {toml_text(settings.http.listen)}"]
        lines += [f"public_url = {toml_text(settings.http.public_url)}"]
        lines += [f"crl_shards = {settings.http.crl_shards}", ""]
    lines += keys_lines(settings.keys)
    (directory / FILE).write_text("\n".join(lines), encoding="utf-8")


def write_database_url(directory: Path, url: str) -> None:
    """Change where the database is, and nothing else, in a region's settings.

    Raises:
        ConfigurationError: The file cannot be written, or its ``[database]``
            table has a form that cannot be changed here (``SETTINGS_FILE``).
    """
    path = directory / FILE
    lines = path.read_text(encoding="utf-8").splitlines()
    heads = [number for number, line in enumerate(lines) if line.split("#")[0].strip() == _TABLE]
    if not heads:
        lines += ["", _TABLE]
        heads = [len(lines) - 1]
    start = heads[0] + 1
    end = next((n for n in range(start, len(lines)) if lines[n].startswith("[")), len(lines))
    kept = [line for line in lines[start:end] if line.partition("=")[0].strip() != "url"]
    text = "\n".join([*lines[:start], f"url = {toml_text(url)}", *kept, *lines[end:], ""])
    wanted = replace(load_settings(directory), database=DatabaseTable(url=url))
    if load(Settings, text) != wanted:
        raise ConfigurationError(
            f"write the database's URL into {path} by hand", reason="SETTINGS_FILE"
        )
    try:
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}", reason="SETTINGS_FILE"
        ) from error


def load_keys(path: Path) -> KeysTable:
    """Read ``[keys]`` from a file of its own, for a founding.

    Files that it names are looked for beside it: the region's directory, to
    which they are relative otherwise, is not there yet.

    Raises:
        ConfigurationError: As `load_file`.
    """
    keys, beside = load_file(_KeysFile, path).keys, path.absolute().parent

    def absolute(name: str) -> str:
        return str(beside / name) if name else ""

    return KeysTable(
        pkcs11=replace(keys.pkcs11, pin_file=absolute(keys.pkcs11.pin_file)),
        sdf=replace(keys.sdf, code_file=absolute(keys.sdf.code_file)),
        remote=replace(keys.remote, credentials=absolute(keys.remote.credentials)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeysFile:
    keys: KeysTable


def keys_lines(keys: KeysTable) -> list[str]:
    """Return ``[keys]`` as TOML, one line each."""
    return [
        line for item in fields(keys) for line in _store_lines(item.name, getattr(keys, item.name))
    ]


def _store_lines(name: str, table: Pkcs11Table | SdfTable | RemoteTable) -> list[str]:
    if not table.purposes:
        return []
    lines = [f"[keys.{name}]"]
    for item in fields(table):
        value = getattr(table, item.name)
        if isinstance(value, tuple):
            text = f"[{', '.join(toml_text(str(part)) for part in value)}]"
        elif isinstance(value, timedelta):
            text = f'"{value // timedelta(milliseconds=1)}ms"'
        else:
            text = str(value) if isinstance(value, int) else toml_text(value)
        lines.append(f"{item.name} = {text}")
    return [*lines, ""]


def toml_text(text: str) -> str:
    """Return a text as a TOML string."""
    # JSON escapes all that TOML must have escaped, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
