"""Suites: a hash, a signature and a key codec under one name.

A key belongs to exactly one suite. A verifier takes the suite from the key's
trust record and never from the message (that is how algorithm confusion
starts). A suite lives in a module of its own and adds one line to the table
here, so what a build can verify is read in one place.
"""

from __future__ import annotations

from typing import Final

from yinxin_proto.error import ConfigurationError
from yinxin_proto.es256 import ES256
from yinxin_proto.mldsa import ML_DSA_65
from yinxin_proto.signature import PublicKey, Signer, SigningKey, Suite

__all__ = ["ES256", "ML_DSA_65", "PublicKey", "Signer", "SigningKey", "Suite", "names", "suite"]

_REGISTRY: Final[dict[str, Suite]] = {entry.name: entry for entry in (ES256, ML_DSA_65)}


def suite(name: str) -> Suite:
    """Return the suite registered under ``name``.

    Raises:
        ConfigurationError: No such suite; the message lists those there are.
    """
    found = _REGISTRY.get(name)
    if found is None:
        raise ConfigurationError(
            f"unknown signature suite; this build has {', '.join(names())}",
            reason="UNKNOWN_SUITE",
        )
    return found


def names() -> tuple[str, ...]:
    """Return the names of the registered suites."""
    return tuple(_REGISTRY)
