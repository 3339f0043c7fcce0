"""What each key of a region is for, who holds it and how long: the inventory of keys.

The page ``docs/reference/keys.md`` is this table; a test holds that no purpose
is missing from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from yinxin_ca.keystore import EXPORTABLE, Purpose
from yinxin_proto.suite import ES256, SM2
from yinxin_trust.keyoverview import max_age
from yinxin_trust.settings import RotationTable
from yinxin_trust.suites import INTERCHANGE, PARALLEL, RegionSuites

_DAY: Final = 86_400


class Keeper(StrEnum):
    """Who holds a private key."""

    OFFLINE = "offline store"
    """Opened by commands that change who is trusted; belongs off the server."""
    ONLINE = "online store"
    """Open wherever the service runs: files, a token, a machine or a signer."""
    OUTSIDE = "its holder"
    """Never the region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """What one purpose's keys do."""

    use: str
    keeper: Keeper
    algorithm: str = ""
    """Where it is of no suite."""
    theft: str = ""
    """The runbook for the day that it is in other hands, below ``docs/runbooks``."""


def _offline(use: str, *, algorithm: str = "", theft: str = "") -> KeyUse:
    return KeyUse(use=use, keeper=Keeper.OFFLINE, algorithm=algorithm, theft=theft)


def _online(use: str, *, algorithm: str = "", theft: str = "") -> KeyUse:
    return KeyUse(use=use, keeper=Keeper.ONLINE, algorithm=algorithm, theft=theft)


def _outside(use: str, *, theft: str = "") -> KeyUse:
    return KeyUse(use=use, keeper=Keeper.OUTSIDE, theft=theft)


_REPOSITORY: Final = "theft-root.md"
_AUTHORITY: Final = "theft-authority.md"

KEYS: Final[Mapping[Purpose, KeyUse]] = MappingProxyType(
    {
        Purpose.ROOT: _offline("certifies issuing CAs", theft="theft-root.md"),
        Purpose.PQ_ROOT: _offline("certifies the logs' cosigners", theft="theft-root.md"),
        Purpose.TUF_ROOT: _offline("names the keys of the repository's roles", theft=_REPOSITORY),
        Purpose.TUF_TARGETS: _offline("signs the trust list", theft=_REPOSITORY),
        Purpose.OFFICERS: _offline(
            "MAC over the register of officers", algorithm="HMAC-SHA256", theft=_REPOSITORY
        ),
        Purpose.LICENCE_CA: _online("certifies licence-signing keys", theft=_AUTHORITY),
        Purpose.STATUS_CA: _online("certifies the status key", theft=_AUTHORITY),
        Purpose.TLS_CA: _online("certifies servers and callers", theft=_AUTHORITY),
        Purpose.SEAL_CA: _online("certifies seals and personal signatures", theft=_AUTHORITY),
        Purpose.TIMESTAMP_CA: _online("certifies the time-stamper", theft=_AUTHORITY),
        Purpose.MEMBER_CA: _online("certifies departments and operators", theft=_AUTHORITY),
        Purpose.LICENCE: _online("signs one authority's licences", theft="theft-licence-key.md"),
        Purpose.STATUS: _online("signs status lists", theft="theft-status-key.md"),
        Purpose.LOG: _online(
            "signs a log's checkpoints", algorithm="Ed25519", theft="theft-log-key.md"
        ),
        Purpose.LOG_COSIGNER: _online("cosigns a log's checkpoints", theft="theft-log-key.md"),
        Purpose.OCSP: _online("signs OCSP answers", theft="certificates.md"),
        Purpose.TLS_OCSP: _online("signs OCSP answers for the TLS CA", theft="certificates.md"),
        Purpose.TIMESTAMP: _online("signs time-stamp tokens", theft="certificates.md"),
        Purpose.TLS_SERVER: _online("TLS of the region's servers", theft="certificates.md"),
        Purpose.TUF_SNAPSHOT: _online("repository: which files belong together"),
        Purpose.TUF_TIMESTAMP: _online("repository: that it is fresh"),
        Purpose.TUF_STATUS: _online("repository: status lists"),
        Purpose.TUF_CRL: _online("repository: revocation lists"),
        Purpose.TUF_CATALOGUE: _online("repository: licence types"),
        Purpose.INDEX_HMAC: _online("blind indexes of numbers", algorithm="HMAC-SHA256"),
        Purpose.KEK: _online("wraps subjects' data keys", algorithm="AES-256 or SM4 key wrap"),
        Purpose.INTEGRITY: _online("MAC over permissions and audit rows", algorithm="HMAC-SHA256"),
        Purpose.SEAL: _online("signs with a seal that an outside CA certified"),
        Purpose.SEAL_ENCRYPTION: _online("encryption key of an outside CA's SM2 pair"),
        Purpose.LICENCE_ENCRYPTION: _online("encryption key of an outside CA's SM2 pair"),
        Purpose.APPROVAL: _outside("signs an authority's approvals", theft="theft-status-key.md"),
        Purpose.REQUEST: _outside("signs a department's requests to peers"),
        Purpose.TLS_CLIENT: _outside("TLS of a caller", theft="certificates.md"),
        Purpose.CUSTODIAN: _outside("signs a ceremony's record", theft="ceremony.md"),
        Purpose.CUSTODIAN_SEAL: _outside("opens a custodian's share", theft="ceremony.md"),
    }
)
"""By purpose."""


def keys_table() -> str:
    """Return the inventory of keys as a Markdown table."""
    lines = [
        "| purpose | what it does | held by | suite | at most | if stolen |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(_row(purpose, use))} |" for purpose, use in KEYS.items()]
    return "\n".join(lines) + "\n"


def _row(purpose: Purpose, use: KeyUse) -> Iterator[str]:
    age = max_age(purpose, RotationTable())
    yield f"`{purpose.value}`"
    yield use.use + (", leaves its store as PEM" if purpose in EXPORTABLE else "")
    yield use.keeper.value
    yield use.algorithm or _suite(purpose)
    yield "" if age is None else f"{age.total_seconds() / _DAY:.0f} days"
    yield f"[{use.theft}](../runbooks/{use.theft})" if use.theft else ""


def _suite(purpose: Purpose) -> str:
    if purpose in INTERCHANGE or purpose in PARALLEL:
        return RegionSuites(SM2, SM2).of(purpose).name
    if purpose in (Purpose.CUSTODIAN, Purpose.CUSTODIAN_SEAL):
        return ES256.name
    return "the root's" if purpose is Purpose.ROOT else "the region's"
