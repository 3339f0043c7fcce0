"""A trust repository in a dict, with every key at hand: to publish and to attack."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any

from tuf.api.metadata import Metadata

from support.clock import FixedClock
from yinxin_proto.repository import Expiry, RepositoryView
from yinxin_proto.repository_key import TufSigner
from yinxin_proto.repository_metadata import DELEGATED, TOP_LEVEL, metadata_path
from yinxin_proto.repository_writer import RepositoryWriter, RoleKeys
from yinxin_proto.suite import ES256, SigningKey

TRUST = b'{"invented":"trust list"}'
LISTS = {"status/a1.jwt": b"status list a1", "status/b2.jwt": b"status list b2"}
CRLS = {"crl/licence-ca.crl": b"crl"}
TYPES = {"catalogue/11100000MB03271699001.json": b"{}"}

Mutation = Callable[[dict[str, Any]], None]


def key(secret: int) -> SigningKey:
    """Return a fixed key that signs by RFC 6979."""
    return ES256.load_deterministic(secret)


def role_keys(*signers: SigningKey, threshold: int = 1) -> RoleKeys:
    """Return the public side of ``signers``."""
    return RoleKeys(keys=tuple(signer.public_key for signer in signers), threshold=threshold)


def standard_keys() -> dict[str, list[SigningKey]]:
    """Return one fixed key for every role."""
    return {role: [key(201 + place)] for place, role in enumerate((*TOP_LEVEL, *DELEGATED))}


class PublishedRepository:
    """A repository whose holder plays every part."""

    def __init__(
        self,
        *,
        clock: FixedClock | None = None,
        keys: Mapping[str, Sequence[SigningKey]] | None = None,
        thresholds: Mapping[str, int] | None = None,
        lifetimes: Mapping[str, timedelta] | None = None,
    ) -> None:
        self.clock = clock or FixedClock()
        self.keys = {role: list(signers) for role, signers in (keys or standard_keys()).items()}
        self.thresholds = dict(thresholds or {})
        self.lifetimes = lifetimes
        self.files: dict[str, bytes] = {}
        writer = self.writer()
        writer.write_root(self.holders(TOP_LEVEL), signers=self.keys["root"])
        writer.write_targets(
            "targets",
            {"trust.json": TRUST},
            signers=self.keys["targets"],
            delegations=self.holders(DELEGATED),
        )
        for role, targets in (("status", LISTS), ("crl", CRLS), ("catalogue", TYPES)):
            writer.write_targets(role, dict(targets), signers=self.keys[role])
        self.publish(writer)
        self.pinned = writer.roots[0]

    def writer(self) -> RepositoryWriter:
        return RepositoryWriter(read=self.files.get, clock=self.clock, lifetimes=self.lifetimes)

    def holders(self, roles: Sequence[str]) -> dict[str, RoleKeys]:
        return {
            role: role_keys(*self.keys[role], threshold=self.thresholds.get(role, 1))
            for role in roles
        }

    def publish(self, writer: RepositoryWriter) -> dict[str, bytes]:
        new = writer.publish(snapshot=self.keys["snapshot"], timestamp=self.keys["timestamp"])
        self.files.update(new)
        return new

    def update(self, role: str, changes: Mapping[str, bytes | None]) -> None:
        """Publish a next version of one role."""
        writer = self.writer()
        writer.write_targets(role, changes, signers=self.keys[role])
        self.publish(writer)

    def rotate(self, role: str, *signers: SigningKey) -> None:
        """Publish a next root in which a top-level role has other keys."""
        old_roots = self.keys["root"]
        self.keys[role] = list(signers)
        writer = self.writer()
        both = [*old_roots, *(k for k in self.keys["root"] if k not in old_roots)]
        writer.write_root(self.holders(TOP_LEVEL), signers=both)
        if role == "targets":
            writer.write_targets("targets", {}, signers=signers)
        self.publish(writer)

    def load(
        self,
        *,
        mode: Expiry = Expiry.ONLINE,
        previous: Mapping[str, int] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> RepositoryView:
        """Verify what is published (or ``files``) at the clock's moment."""
        return RepositoryView.load(
            self.pinned,
            (self.files if files is None else files).get,
            self.clock.now(),
            mode=mode,
            previous=previous,
        )

    def path(self, role: str) -> str:
        """Return where the role's current metadata lies."""
        if role == "timestamp":
            return metadata_path(role)
        if role == "root":
            versions = [int(p.split("/")[1].split(".")[0]) for p in self.files if ".root." in p]
            return metadata_path(role, max(versions))
        if role == "snapshot":
            meta = self.signed("timestamp")["meta"]["snapshot.json"]
        else:
            meta = self.signed("snapshot")["meta"][f"{role}.json"]
        return metadata_path(role, meta["version"])

    def signed(self, role: str) -> dict[str, Any]:
        """Return the signed part of the role's current metadata."""
        signed: dict[str, Any] = json.loads(self.files[self.path(role)])["signed"]
        return signed

    def forge(
        self, role: str, change: Mutation, *, signers: Sequence[SigningKey] | None = None
    ) -> None:
        """Change a role's signed part, sign it and make all that refers to it fit.

        What a thief of the role's key *and* of the snapshot and timestamp keys
        can do.
        """
        path = self.path(role)
        self.files[path] = self.sign(
            self.signed(role), change, self.keys[role] if signers is None else signers
        )
        if role in ("targets", *DELEGATED):
            data = self.files[path]
            self.forge(
                "snapshot", lambda signed: signed["meta"].update({f"{role}.json": meta(data)})
            )
        elif role == "snapshot":
            self.refer("timestamp", role, self.files[path])

    def refer(self, referrer: str, role: str, data: bytes, **overrides: object) -> None:
        """Make snapshot or timestamp refer to ``data`` as the role's metadata."""
        said = {**meta(data), **overrides}
        self.forge(referrer, lambda signed: signed["meta"].update({f"{role}.json": said}))

    @staticmethod
    def sign(signed: dict[str, Any], change: Mutation, signers: Sequence[SigningKey]) -> bytes:
        """Return metadata of a changed ``signed`` part, signed by ``signers``."""
        change(signed)
        # Through text, since python-tuf takes apart what it is given.
        document = json.dumps({"signatures": [], "signed": signed})
        metadata: Metadata[Any] = Metadata.from_dict(json.loads(document))
        for signer in signers:
            metadata.sign(TufSigner(signer), append=True)
        return metadata.to_bytes()


def meta(data: bytes) -> dict[str, Any]:
    """Return what a snapshot says of metadata."""
    version = json.loads(data)["signed"]["version"]
    return {
        "version": version,
        "length": len(data),
        "hashes": {"sha256": sha256(data).hexdigest()},
    }
