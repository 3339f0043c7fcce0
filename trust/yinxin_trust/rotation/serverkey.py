"""The key of the region's servers: each shows a new certificate at its next connection."""

from __future__ import annotations

from yinxin_trust.rotation.plan import PlainPlan


class ServerKeyPlan(PlainPlan):
    """The TLS servers' key.

    Its certificate is made when it is active, by `servercertificate`: whoever
    needs it first writes it, and does so again where a crash came between.
    """
