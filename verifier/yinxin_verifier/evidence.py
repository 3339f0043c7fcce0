"""What a verdict is formed from: the licence, and what is believed about regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from yinxin_proto.scope import Authority
from yinxin_verifier.region import RegionTrust


class LogAnswer(StrEnum):
    """What the region's own log said of a licence that came without a receipt."""

    CONFIRMED = "CONFIRMED"
    """It holds the licence; where it sent the proof, the proof is in the evidence."""
    ABSENT = "ABSENT"
    """It does not."""
    UNREACHABLE = "UNREACHABLE"
    """It could not be asked."""


_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


def _nothing() -> Mapping[Any, Any]:
    return _NOTHING


class TrustSet:
    """What a verifier believes, as one immutable snapshot.

    Namespaces stay apart: every region keeps its own anchors, keys and logs.

    Args:
        home: The verifier's own region; its root is the only one pinned.
        peers: Regions that home recognises.
    """

    __slots__ = ("_by_domain", "_issuers", "home")

    def __init__(self, *, home: RegionTrust, peers: Iterable[RegionTrust] = ()) -> None:
        self.home = home
        self._by_domain: dict[str, RegionTrust] = {}
        self._issuers: dict[str, tuple[RegionTrust, Authority]] = {}
        # Home last: whatever a peer claims, home's names stay home's.
        for region in (*peers, home):
            self._by_domain[region.domain] = region
            for iss, authority in region.issuers().items():
                self._issuers[iss] = (region, authority)

    def issuer(self, iss: object) -> tuple[RegionTrust, Authority] | None:
        """Return the region and authority that an ``iss`` names, if any."""
        return self._issuers.get(iss) if type(iss) is str else None

    def region(self, domain: str) -> RegionTrust | None:
        """Return the region of a domain, if it is known."""
        return self._by_domain.get(domain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that one verdict may rest on.

    What is missing is said to be missing: a fetch that failed is None, an
    unreachable log is `LogAnswer.UNREACHABLE`.
    """

    licence: bytes | str
    """A licence file, or a bare SD-JWT presentation."""
    trust: TrustSet
    """What is believed about regions."""
    fetched: Mapping[str, str | None] = field(default_factory=_nothing)
    """Status tokens asked for just now, by uri; None where the fetch failed, which
    is never taken for "revoked"."""
    log_answer: LogAnswer | None = None
    """What the region's own log said; None where it was not asked."""
    opening: bytes | None = None
    """Opening that the log sent with its answer."""
    receipt: bytes | None = None
    """Receipt that the log sent with its answer."""
    consistency: Mapping[tuple[str, int, int], Sequence[bytes]] = field(default_factory=_nothing)
    """Consistency proofs fetched for this licence, by (origin, smaller, larger)."""
