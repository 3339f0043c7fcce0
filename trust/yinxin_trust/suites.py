"""Which suite each key of a region belongs to.

TLS and TUF stay on ES256 in every region: gRPC and the clients of a trust
repository are others' software, which reads no other suite of ours. Logs have
Ed25519, as C2SP demands, and ML-DSA-44 beside it under a parallel ML-DSA-65
root. The root may be of a suite of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from yinxin_ca.keystore import Purpose
from yinxin_proto.mldsa import ML_DSA_44
from yinxin_proto.signature import Suite
from yinxin_proto.suite import ES256, ML_DSA_65, SM2

INTERCHANGE: Final = frozenset(
    purpose for purpose in Purpose if purpose.value.startswith(("tls-", "tuf-"))
)
"""Purposes whose keys are of ES256 everywhere."""
PARALLEL: Final = {Purpose.PQ_ROOT: ML_DSA_65, Purpose.LOG_COSIGNER: ML_DSA_44}
"""Purposes whose keys stand against quantum computers everywhere."""


@dataclass(frozen=True, slots=True)
class RegionSuites:
    """A region's choice, fixed when it was founded."""

    own: Suite
    """Licences, status lists, approvals, and the authorities that certify them."""
    root: Suite
    """The root certificate alone."""

    def of(self, purpose: Purpose) -> Suite:
        """Return the suite of new keys of a purpose."""
        if purpose in INTERCHANGE:
            return ES256
        if purpose in PARALLEL:
            return PARALLEL[purpose]
        return self.root if purpose is Purpose.ROOT else self.own

    @property
    def is_commercial(self) -> bool:
        """Whether the region keeps to Chinese commercial cryptography (商用密码)."""
        return self.own is SM2
