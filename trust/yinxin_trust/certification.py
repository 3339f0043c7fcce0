"""The region's certificate authorities, opened for use.

One register and one CRL each, also of one authority's successive keys: the
second licence CA is ``licence-2``, under a name of its own. What an authority's
certificate says of a key is evidence; who is trusted is in the trust list alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from sqlalchemy import Connection, select, update

from yinxin_ca.authority import CertificateAuthority, create_root
from yinxin_ca.keystore import Purpose
from yinxin_ca.location import shard_of
from yinxin_ca.profile import (
    LICENCE_CA,
    MEMBER_CA,
    SEAL_CA,
    STATUS_CA,
    TIMESTAMP_CA,
    TLS_CA,
)
from yinxin_ca.register import Register, is_compromised
from yinxin_ca.subject import Subject
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.crl import parse_crl
from yinxin_proto.jose import x5c_chain
from yinxin_proto.keyrecord import KeyState
from yinxin_proto.leaf import evidence_hash
from yinxin_proto.strict import parse_json
from yinxin_trust import schema
from yinxin_trust.directory import touch
from yinxin_trust.keyinventory import KeyVersion, known
from yinxin_trust.keyring import ISSUING_CA, Keyring
from yinxin_trust.keystage import Stage
from yinxin_trust.rows import milliseconds
from yinxin_trust.storage import get_setting, put_setting
from yinxin_trust.trustlisting import RegionAnchors

CRL_LIFETIME: Final = timedelta(days=7)
ISSUING: Final = {
    "licence": (Purpose.LICENCE_CA, LICENCE_CA, "Licence CA"),
    "status": (Purpose.STATUS_CA, STATUS_CA, "Status CA"),
    "tls": (Purpose.TLS_CA, TLS_CA, "TLS CA"),
    "seal": (Purpose.SEAL_CA, SEAL_CA, "Seal CA"),
    "timestamp": (Purpose.TIMESTAMP_CA, TIMESTAMP_CA, "Time-stamp CA"),
    "member": (Purpose.MEMBER_CA, MEMBER_CA, "Member CA"),
}
"""Issuing authorities by name: key, profile, common name."""
ROOT: Final = "root"
ROOT_CRL_LIFETIME: Final = timedelta(days=400)
"""The root's key is offline, so its list is signed when it is opened anyway."""
AUTHORITIES: Final = (ROOT, *ISSUING)
"""Authorities, each with a revocation list: without the root's, nobody could
tell whether an issuing authority still stands."""
_SHARD: Final = re.compile(r"-s\d+\Z")
_IN_REPOSITORY: Final = (ROOT, "licence", "status", "tls", "external")
"""Authorities of the trust list, and licensed ones outside; a verifier refuses
another's list in the repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuingCa:
    """One issuing authority under one key."""

    name: str
    """``licence``, ``status`` or ``tls``."""
    key: KeyVersion

    @property
    def label(self) -> str:
        """What its register and its CRL are called: the name, with the version from 2 on."""
        return ca_label(self.name, self.key.ref.version)

    @property
    def certificate(self) -> bytes:
        """Its own, DER."""
        return self.key.chain[0]


def ca_label(name: str, version: int) -> str:
    """Return what the register and CRL of one version of an authority are called."""
    return name if version == 1 else f"{name}-{version}"


def list_name(label: str) -> str:
    """Return what the revocation list and certificate of an authority are published as.

    There is one root at a time: whichever it is, its list is the root's.
    """
    return ROOT if label.partition("-")[0] == ROOT else label


def issuing_cas(conn: Connection, only: str | None = None) -> list[IssuingCa]:
    """Return every issuing authority that was ever published, past ones included.

    Args:
        conn: Any transaction.
        only: The name of one, such as ``tls``; all of them when omitted.
    """
    return [
        IssuingCa(name=name, key=key)
        for name, purpose in ISSUING_CA.items()
        if only in (None, name)
        for key in known(conn, purpose)
    ]


class RegisterFactory(Protocol):
    """Opens the register of an authority."""

    def __call__(self, name: str) -> Register:
        """Return the register of the authority of a label."""
        ...

    def names(self) -> tuple[str, ...]:
        """Return the labels of all authorities that have one."""
        ...


def found_authorities(
    keyring: Keyring, registers: RegisterFactory, clock: Clock, entropy: Entropy
) -> RegionAnchors:
    """Make the root and the issuing authorities of a new region."""
    organisation = keyring.namespace.name
    root = create_root(
        subject=Subject(organisation=organisation, common_name="Root CA"),
        signer=keyring.signer(Purpose.ROOT),
        register=registers("root"),
        clock=clock,
        entropy=entropy,
        locations=keyring.namespace.locations(ROOT, online=False),
    )
    issued = {
        name: root.issue(
            profile,
            subject=Subject(organisation=organisation, common_name=common_name),
            public_key=keyring.signer(purpose).public_key,
        )
        for name, (purpose, profile, common_name) in ISSUING.items()
    }
    return RegionAnchors(root=root.certificate, **issued)


def open_authority(
    name: str,
    *,
    anchors: RegionAnchors,
    keyring: Keyring,
    registers: RegisterFactory,
    clock: Clock,
    entropy: Entropy,
    certificate: bytes | None = None,
) -> CertificateAuthority:
    """Open one authority: one of `ISSUING`, or the offline ``root``.

    Its key is whichever version the certificate names: ``anchors`` has that of
    the one that signs now, ``certificate`` may be a past or a coming one's.
    """
    purpose = Purpose.ROOT if name == ROOT else ISSUING[name][0]
    own: bytes = getattr(anchors, name) if certificate is None else certificate
    ref, signer = keyring.signer_of(purpose, parse(own).spki)
    label = ca_label(name, ref.version)
    return CertificateAuthority(
        certificate=own,
        signer=signer,
        register=registers(label),
        clock=clock,
        entropy=entropy,
        locations=keyring.namespace.locations(list_name(label), online=name != ROOT),
        is_compromised=lambda spki: _is_compromised_elsewhere(registers, label, spki),
    )


def _is_compromised_elsewhere(registers: RegisterFactory, label: str, spki: bytes) -> bool:
    others = (registers(other) for other in registers.names() if other != label)
    return any(is_compromised(register, spki) for register in others)


def sign_lists(
    label: str, authority: CertificateAuthority, *, lifetime: timedelta | None = None
) -> dict[str, bytes]:
    """Sign an authority's lists: its own under its label, and its shards' if it has any."""
    lists = authority.sign_crls(lifetime=lifetime or crl_lifetime(label))
    return {label + shard: crl for shard, crl in lists.items()}


def tls_anchors(conn: Connection) -> tuple[bytes, ...]:
    """Return the TLS CAs whose certificates are accepted: all that were published and stand."""
    fallen = {Stage.SUSPENDED, Stage.COMPROMISED}
    return tuple(ca.certificate for ca in issuing_cas(conn, "tls") if ca.key.stage not in fallen)


def crl_lifetime(label: str) -> timedelta:
    """Return how long a new list of an authority holds."""
    return ROOT_CRL_LIFETIME if label.partition("-")[0] == ROOT else CRL_LIFETIME


def is_crl_due(crl: bytes | None, now: datetime) -> bool:
    """Tell whether an authority's list is past half its life, or missing."""
    if crl is None:
        return True
    said = parse_crl(crl).content
    return (now - said.this_update) * 2 >= said.next_update - said.this_update


def put_crls(conn: Connection, crls: Mapping[str, bytes], clock: Clock) -> None:
    """Keep the newest CRLs, and the evidence that new licences will commit to."""
    for name, crl in crls.items():
        put_setting(conn, f"crl/{name}", crl.hex())
    if any(name.partition("-")[0] in ("licence", "external") for name in crls):
        _renew_evidence(conn, milliseconds(clock.now()))
    touch(conn)


def get_crl(conn: Connection, name: str) -> bytes | None:
    """Return the newest CRL of an authority, or of a shard of one (``tls-s3``)."""
    text = get_setting(conn, f"crl/{name}")
    return None if text is None else bytes.fromhex(text)


def get_crls(conn: Connection, label: str = "") -> dict[str, bytes]:
    """Return every list that is kept, or those of one authority and its shards, by name."""
    s = schema.setting.c
    query = select(s.name, s.value).where(s.name.like("crl/%")).order_by(s.name)
    return {
        name: bytes.fromhex(row.value)
        for row in conn.execute(query)
        if (name := row.name.removeprefix("crl/")) and label in ("", _SHARD.sub("", name))
    }


def get_crl_for(conn: Connection, chain: tuple[bytes, ...]) -> bytes | None:
    """Return the newest list that speaks for a chain's leaf; None where there is none yet."""
    if len(chain) < 2:
        return None
    urls = parse(chain[0]).crl_urls
    for ca in issuing_cas(conn):
        if ca.certificate == chain[1]:
            own = get_crl(conn, ca.label + shard_of(urls[0])) if urls else None
            return own if own is not None else get_crl(conn, ca.label)
    return get_crl(conn, external_list(parse(chain[1])))


def external_list(issuing: Certificate) -> str:
    """Return what the revocation list of a licensed authority outside is called."""
    return f"external-{issuing.fingerprint.hex()[:32]}"


def crl_targets(crls: Mapping[str, bytes]) -> dict[str, bytes | None]:
    """Return the lists of the trust list's authorities as targets of the ``crl`` role."""
    return {
        f"crl/{name}.crl": crl
        for name, crl in crls.items()
        if name.partition("-")[0] in _IN_REPOSITORY
    }


def put_evidence(conn: Connection, chain: tuple[bytes, ...], crl: bytes, now_ms: int) -> bytes:
    """Store what showed that a key was good; return the hash that leaves commit to."""
    digest = evidence_hash(chain, crl)
    e = schema.evidence
    if conn.execute(select(e.c.digest).where(e.c.digest == digest)).first() is None:
        parts = [len(part).to_bytes(4, "big") + part for part in (*chain, crl)]
        conn.execute(e.insert().values(digest=digest, content=b"".join(parts), created_ms=now_ms))
    return digest


def _renew_evidence(conn: Connection, now_ms: int) -> None:
    k = schema.authority_key
    rows = conn.execute(
        select(k.c.thumbprint, k.c.x5c).where(
            k.c.purpose == "licence", k.c.state == KeyState.ACTIVE.value
        )
    ).all()
    for row in rows:
        chain = x5c_chain({"x5c": parse_json(row.x5c.encode())})
        digest = put_evidence(conn, chain, get_crl_for(conn, chain) or b"", now_ms)
        conn.execute(update(k).where(k.c.thumbprint == row.thumbprint).values(evidence_hash=digest))
