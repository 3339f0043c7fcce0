"""What ``doctor`` looks at: the machine, the keys, the data, and what will run out.

Each check yields observations; none stops the others. A check that cannot be
made is an observation too.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import IntEnum
from importlib import metadata
from pathlib import Path
from platform import machine
from typing import Any, Final

from sqlalchemy import Column, func, select, text

from yinxin_ca.routed import RoutedKeyStore
from yinxin_proto.certificate import parse
from yinxin_proto.crl import parse_crl
from yinxin_proto.error import YinxinError
from yinxin_proto.jose import x5c_chain
from yinxin_proto.repository import Expiry, RepositoryView
from yinxin_proto.sm2provider import provider
from yinxin_proto.strict import parse_json
from yinxin_proto.suite import SM2
from yinxin_trust import schema
from yinxin_trust.certification import get_crl, issuing_cas
from yinxin_trust.cipher import cipher_for
from yinxin_trust.keyoverview import overview
from yinxin_trust.keystage import Stage
from yinxin_trust.keystores import KEYS
from yinxin_trust.publication import first_root, reader
from yinxin_trust.region import OFFLINE, Region
from yinxin_trust.rows import moment
from yinxin_trust.servercertificate import ServerCertificate
from yinxin_trust.soundness import Soundness
from yinxin_trust.status import status_chain
from yinxin_trust.trustlisting import get_anchors

SAFE_SQLITE: Final = (3, 51, 3)
"""The first version without the WAL-reset bug."""
LIBRARIES: Final = (
    "cryptography",
    "grpcio",
    "protobuf",
    "sqlalchemy",
    "psycopg",
    "tuf",
    "jsonschema-rs",
)
_ARM: Final = ("aarch64", "arm64")
_BRANCHING: Final = ((3, 2), (3, 6))
"""Versions whose SM2 on 64-bit ARM branches on secrets."""
CHINA: Final = timezone(timedelta(hours=8))
SOON: Final = timedelta(days=30)
_MIB: Final = 1 << 20
_LITTLE_SPACE: Final = 2048 * _MIB
_NO_SPACE: Final = 100 * _MIB
_CLOCK_SLACK: Final = timedelta(seconds=5)
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OFFLINE_ROLES: Final = ("root", "targets")


class Level(IntEnum):
    """How bad an observation is."""

    OK = 0
    NOTE = 1
    """Worth knowing; nothing is wrong yet."""
    FAULT = 2


@dataclass(frozen=True, slots=True)
class Observation:
    """What one check saw."""

    topic: str
    """Stable name of the check."""
    level: Level
    text: str
    """Key of the text that says it, below ``doctor.``."""
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Examines one region.

    Args:
        region: Opened, with its offline keys if they are at hand.
        directory: The region's.
    """

    region: Region
    directory: Path

    def observations(self) -> Iterator[Observation]:
        """Yield what every check saw, in an order that is good to read."""
        for check in (
            self._keys,
            self._suites,
            self._stores,
            self._permissions,
            self._database,
            self._data,
            self._clock,
            self._space,
            self._rotations,
            self._certificates,
            self._revocation_lists,
            self._roles,
            self._libraries,
        ):
            try:
                yield from check()
            except YinxinError as error:
                topic = check.__name__.strip("_")
                values = {"code": error.reason, "detail": error.message}
                yield Observation(topic, Level.FAULT, "failed", values)

    def _keys(self) -> Iterator[Observation]:
        keyring = self.region.keyring
        for info in keyring.online.list():
            if info.spki is None:
                keyring.online.secret(info.ref)
            else:
                keyring.online.signer(info.ref)
        yield Observation("keys", Level.OK, "keys", {"count": len(keyring.online.list())})
        if keyring.offline is not None:
            count = len(keyring.offline.list())
            yield Observation("offline", Level.NOTE, "offline.here", {"count": count})
        elif (self.directory / OFFLINE).exists():
            yield Observation("offline", Level.NOTE, "offline.shut")
        else:
            yield Observation("offline", Level.OK, "offline.away")

    def _rotations(self) -> Iterator[Observation]:
        """Tell of keys that are older than the settings let them become."""
        region, now = self.region, self.region.clock.now()
        lines = list(overview(region.storage, region.rotation(), region.settings.rotation))
        due = [line for line in lines if line.is_due(now)]
        for line in due:
            told: dict[str, object] = {
                "purpose": line.key.ref.purpose.value,
                "owner": line.key.ref.owner,
                "at": show_moment(line.due or now),
            }
            yield Observation("rotation", Level.NOTE, "due", told)
        if not due:
            count = sum(line.key.stage is Stage.ACTIVE for line in lines)
            yield Observation("rotation", Level.OK, "rotation", {"count": count})

    def _suites(self) -> Iterator[Observation]:
        suites = self.region.foundation.suites
        values = {
            "own": suites.own.name,
            "root": suites.root.name,
            "cipher": cipher_for(suites).name,
        }
        yield Observation("suites", Level.OK, "suites", values)
        if SM2 not in (suites.own, suites.root):
            return
        library = provider().require()
        said = {"library": library.name, "version": library.version}
        number = tuple(map(int, library.version.split(".")))[:2]
        if machine() in _ARM and _BRANCHING[0] <= number <= _BRANCHING[1]:
            yield Observation("libcrypto", Level.NOTE, "libcrypto.branching", said)
        else:
            yield Observation("libcrypto", Level.OK, "libcrypto.sound", said)

    def _stores(self) -> Iterator[Observation]:
        """Say which store holds what, where there is more than one."""
        online = self.region.keyring.online
        if not isinstance(online, RoutedKeyStore) or len(online.routes) == 1:
            return
        for route in online.routes:
            values: dict[str, object] = {"store": route.name}
            try:
                held = route.store.list()
            except YinxinError as error:
                values |= {"code": error.reason, "detail": error.message}
                yield Observation("stores", Level.FAULT, "stores.silent", values)
                continue
            purposes = ", ".join(sorted({info.ref.purpose for info in held})) or "-"
            values |= {"count": len(held), "purposes": purposes}
            yield Observation("stores", Level.OK, "stores.answers", values)

    def _permissions(self) -> Iterator[Observation]:
        paths = [self.directory / KEYS, self.directory / OFFLINE]
        open_ones = [path.name for path in paths if path.exists() and path.stat().st_mode & _OTHERS]
        if open_ones:
            yield Observation(
                "permissions", Level.FAULT, "permissions.open", {"folders": ", ".join(open_ones)}
            )
        else:
            yield Observation("permissions", Level.OK, "permissions.private")

    def _database(self) -> Iterator[Observation]:
        database = self.region.storage.database
        version = ".".join(map(str, database.version))
        if database.dialect == "postgresql":
            yield Observation("database", Level.OK, "database.postgresql", {"version": version})
        elif database.version < SAFE_SQLITE:
            safe = ".".join(map(str, SAFE_SQLITE))
            values = {"version": version, "safe": safe}
            yield Observation("database", Level.NOTE, "database.old_sqlite", values)
        else:
            yield Observation("database", Level.OK, "database.sqlite", {"version": version})

    def _data(self) -> Iterator[Observation]:
        soundness = Soundness(keyring=self.region.keyring, directory=self.directory)
        report = soundness.examine(self.region.storage, full=True)
        for finding in report.findings:
            values = {"code": finding.code, "where": finding.where, "detail": finding.detail}
            yield Observation("data", Level.FAULT, "data.unsound", values)
        if report.sound:
            with self.region.storage.read() as conn:
                licences = conn.execute(
                    select(func.count()).select_from(schema.licence)
                ).scalar_one()
                entries = conn.execute(select(func.sum(schema.log_head.c.size))).scalar_one()
            counts = {"licences": licences, "entries": entries or 0}
            yield Observation("data", Level.OK, "data.sound", counts)

    def _clock(self) -> Iterator[Observation]:
        now = self.region.clock.now()
        newest = self._newest_record()
        if newest is not None and newest - now > _CLOCK_SLACK:
            values = {"now": show_moment(now), "newest": show_moment(newest)}
            yield Observation("clock", Level.FAULT, "clock.behind", values)
            return
        apart = self._clock_difference(now)
        if apart is not None and apart > _CLOCK_SLACK:
            seconds = {"seconds": round(apart.total_seconds())}
            yield Observation("clock", Level.FAULT, "clock.apart", seconds)
            return
        yield Observation("clock", Level.OK, "clock.fine", {"now": show_moment(now)})

    def _newest_record(self) -> datetime | None:
        columns: tuple[Column[Any], ...] = (
            schema.audit.c.at_ms,
            schema.published_file.c.published_ms,
            schema.status_token.c.issued_ms,
        )
        with self.region.storage.read() as conn:
            newest = [conn.execute(select(func.max(column))).scalar() or 0 for column in columns]
        return moment(max(newest)) if any(newest) else None

    def _clock_difference(self, now: datetime) -> timedelta | None:
        if self.region.storage.database.dialect != "postgresql":
            return None
        with self.region.storage.read() as conn:
            theirs: datetime = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
        return abs(theirs - now)

    def _space(self) -> Iterator[Observation]:
        free = shutil.disk_usage(self.directory).free
        level, key = Level.OK, "space.fine"
        if free < _NO_SPACE:
            level, key = Level.FAULT, "space.none"
        elif free < _LITTLE_SPACE:
            level, key = Level.NOTE, "space.little"
        yield Observation("space", level, key, {"mib": free // _MIB})

    def _certificates(self) -> Iterator[Observation]:
        yield from self._until("certificate", self._certificate_ends())

    def _certificate_ends(self) -> dict[str, datetime]:
        ends: dict[str, datetime] = {}
        with self.region.storage.read() as conn:
            ends["root-ca"] = parse(get_anchors(conn).root).not_after
            for ca in issuing_cas(conn):
                if ca.key.stage is Stage.ACTIVE:
                    ends[f"{ca.label}-ca"] = parse(ca.certificate).not_after
            ends["status-key"] = parse(status_chain(conn)[0]).not_after
            k = schema.authority_key.c
            for row in conn.execute(select(k.authority_code, k.x5c).where(k.purpose == "licence")):
                chain = x5c_chain({"x5c": parse_json(row.x5c.encode())})
                ends[row.authority_code] = parse(chain[0]).not_after
        server = ServerCertificate(region=self.region, directory=self.directory).not_after()
        return ends if server is None else {**ends, "server": server}

    def _revocation_lists(self) -> Iterator[Observation]:
        with self.region.storage.read() as conn:
            lists = {ca.label: get_crl(conn, ca.label) for ca in issuing_cas(conn)}
        ends: dict[str, datetime] = {}
        for name, der in lists.items():
            if der is None:
                yield Observation("revocation", Level.FAULT, "revocation.none", {"name": name})
            else:
                ends[f"{name}-ca"] = parse_crl(der).content.next_update
        yield from self._renewed("revocation", ends)

    def _roles(self) -> Iterator[Observation]:
        with self.region.storage.read() as conn:
            view = RepositoryView.load(
                first_root(conn), reader(conn), self.region.clock.now(), mode=Expiry.PACK
            )
        ends = {role: state.expires for role, state in view.roles.items()}
        yield from self._until("role", {role: ends.pop(role) for role in _OFFLINE_ROLES})
        yield from self._renewed("online_role", ends)

    def _until(self, topic: str, ends: Mapping[str, datetime]) -> Iterator[Observation]:
        """Judge what a person must renew: each that is near its end, the others as one."""
        now = self.region.clock.now()
        later = {name: end for name, end in ends.items() if end - now >= SOON}
        for name in sorted(ends.keys() - later.keys(), key=lambda name: ends[name]):
            left = ends[name] - now
            told: dict[str, object] = {
                "name": name,
                "days": left.days,
                "end": show_moment(ends[name]),
            }
            if left <= timedelta(0):
                yield Observation(topic, Level.FAULT, f"{topic}.over", told)
            else:
                yield Observation(topic, Level.NOTE, f"{topic}.soon", told)
        if later:
            first = min(later, key=lambda name: later[name])
            told = {"name": first, "days": (later[first] - now).days, "count": len(later)}
            yield Observation(topic, Level.OK, f"{topic}.fine", told)

    def _renewed(self, topic: str, ends: Mapping[str, datetime]) -> Iterator[Observation]:
        """Judge what a running server renews by itself."""
        now = self.region.clock.now()
        stale = sorted(name for name, end in ends.items() if end <= now)
        for name in stale:
            told = {"name": name, "end": show_moment(ends[name])}
            yield Observation(topic, Level.NOTE, "stale", told)
        if len(ends) > len(stale):
            end = min(end for end in ends.values() if end > now)
            count = len(ends) - len(stale)
            values = {"count": count, "end": show_moment(end)}
            yield Observation(topic, Level.OK, "fresh", values)

    def _libraries(self) -> Iterator[Observation]:
        versions = [f"{name} {_version(name)}" for name in ("yinxin", *LIBRARIES)]
        yield Observation("libraries", Level.OK, "libraries", {"versions": ", ".join(versions)})


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"


def show_moment(moment: datetime) -> str:
    """Return a moment as people in the region read it."""
    return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M UTC+8")
