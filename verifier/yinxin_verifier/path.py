"""The recognition path: which region vouched for which, from home outwards."""

from __future__ import annotations

from dataclasses import dataclass

from yinxin_proto.strict import Json


@dataclass(frozen=True, slots=True)
class Hop:
    """One region on the path, and by what it was reached."""

    region: str
    """GB/T 2260 code."""
    domain: str
    """The region's domain, as its issuers' ``iss`` carries it."""
    root_version: int
    """Version of the region's trust root that was used."""
    trust_version: int
    """Version of its top-level targets, which hold the trust list."""
    statement: str | None = None
    """Name of the recognition statement that led here; None at home."""

    def to_json(self) -> dict[str, Json]:
        """Return the hop as JSON members."""
        return {
            "region": self.region,
            "domain": self.domain,
            "rootVersion": self.root_version,
            "trustVersion": self.trust_version,
            "statement": self.statement,
        }


RecognitionPath = tuple[Hop, ...]
"""From the verifier's home region (always first) to the issuing region."""
