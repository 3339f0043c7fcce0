"""What a verdict is formed from: the licence, and what is believed about regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.licence import TYPE_PREFIX
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


class TrustSet:
    """What a verifier believes, as one immutable snapshot.

    Namespaces stay apart: every region keeps its own anchors, keys and logs.

    Args:
        home: The verifier's own region; its root is the only one pinned.
        peers: Regions that home recognises.

    Raises:
        InvalidArgumentError: Two regions of one domain (``REGION_DOMAIN``): a
            peer that claims another's domain would issue in its name.
    """

    __slots__ = ("_by_domain", "_issuers", "_types", "home")

    def __init__(self, *, home: RegionTrust, peers: Iterable[RegionTrust] = ()) -> None:
        self.home = home
        self._by_domain: dict[str, RegionTrust] = {}
        self._issuers: dict[str, tuple[RegionTrust, Authority]] = {}
        self._types: dict[str, str] = {}
        for region in (home, *peers):
            if self._by_domain.setdefault(region.domain, region) is not region:
                raise InvalidArgumentError(
                    "trust: two regions claim one domain", reason="REGION_DOMAIN"
                )
            for iss, authority in region.issuers().items():
                self._issuers[iss] = (region, authority)
                self._types.update((TYPE_PREFIX + s.type, s.type) for s in authority.types)

    def issuer(self, iss: object) -> tuple[RegionTrust, Authority] | None:
        """Return the region and authority that an ``iss`` names, if any."""
        return self._issuers.get(iss) if type(iss) is str else None

    def licence_type(self, vct: object) -> str | None:
        """Return the type of a ``vct`` that some authority issues; None says nothing."""
        return self._types.get(vct) if type(vct) is str else None

    def region(self, domain: str) -> RegionTrust | None:
        """Return the region of a domain, if it is known."""
        return self._by_domain.get(domain)


class Evidence:
    """Everything that one verdict may rest on; not to be changed once made.

    What is missing is said to be missing: a fetch that failed is None, an
    unreachable log is `LogAnswer.UNREACHABLE`.

    Args:
        licence: A licence file, or a bare SD-JWT presentation.
        trust: What is believed about regions.
        fetched: Status tokens asked for just now, by uri; None where the fetch
            failed, which is never taken for "revoked".
        log_answer: What the region's own log said; None: it was not asked.
        opening: Opening that the log sent with its answer.
        receipt: Receipt that the log sent with its answer.
        consistency: Consistency proofs fetched for this licence, by (origin,
            smaller size, larger size).
    """

    # A plain class: a frozen dataclass takes twice as long to make, and one is
    # made for every licence.
    __slots__ = (
        "consistency",
        "fetched",
        "licence",
        "log_answer",
        "opening",
        "receipt",
        "trust",
    )

    def __init__(
        self,
        *,
        licence: bytes | str,
        trust: TrustSet,
        fetched: Mapping[str, str | None] = _NOTHING,
        log_answer: LogAnswer | None = None,
        opening: bytes | None = None,
        receipt: bytes | None = None,
        consistency: Mapping[tuple[str, int, int], Sequence[bytes]] = _NOTHING,
    ) -> None:
        self.licence = licence
        self.trust = trust
        self.fetched = fetched
        self.log_answer = log_answer
        self.opening = opening
        self.receipt = receipt
        self.consistency = consistency
