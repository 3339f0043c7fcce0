"""Two invented officers, and a region whose offline store knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from yinxin_ca.officer import Officer
from yinxin_proto.operation import (
    Action,
    OfficerSignature,
    Operation,
    SignedOperation,
    new_operation,
    sign_operation,
)
from yinxin_proto.signature import SigningKey
from yinxin_proto.suite import ES256
from yinxin_proto.trustchange import parameters_of, trust_breaks
from yinxin_proto.trustlist import TrustList
from yinxin_trust.publication import published_trust_list
from yinxin_trust.region import Region
from yinxin_trust.trustlisting import build_trust_list

FIRST, SECOND = "officer-jia", "officer-yi"


@dataclass(frozen=True)
class Officers:
    """Their personal keys, which no region has."""

    region: Region
    keys: Mapping[str, SigningKey] = field(
        default_factory=lambda: {name: ES256.generate() for name in (FIRST, SECOND)}
    )

    @classmethod
    def appoint(cls, region: Region) -> Officers:
        """Register two officers with a region's offline store."""
        made = cls(region)
        control = region.keyring.control(region.clock)
        for name, key in made.keys.items():
            control.add_officer(Officer(id=name, name="虚构安全员", public_key=key.public_key))
        return made

    def operation(self, action: Action, target: str, parameters: bytes | None = None) -> Operation:
        """An operation from now on, for a day."""
        return new_operation(
            action,
            target,
            parameters_of({}) if parameters is None else parameters,
            region=self.region.namespace.code,
            clock=self.region.clock,
            entropy=self.region.entropy,
        )

    def sign(self, operation: Operation, *names: str) -> SignedOperation:
        """Sign it: both of them, unless told who."""
        signatures = [
            OfficerSignature.parse(sign_operation(operation, officer=name, signer=self.keys[name]))
            for name in names or (FIRST, SECOND)
        ]
        return SignedOperation(operation=operation, signatures=tuple(signatures))

    def publish(self, conn: Connection) -> None:
        """Publish the trust list as the records make it; both sign whatever that breaks."""
        region = self.region
        listed = build_trust_list(conn, region.namespace, region.clock.now())
        published = TrustList.parse(published_trust_list(conn, region.clock.now()))
        operations = [
            self.sign(self.operation(found.action, found.target, found.parameters))
            for found in trust_breaks(published, listed)
        ]
        region.registrar.publish_trust(conn, operations=operations)
