"""The region's certificate authorities, opened for use.

One register and one CRL each. What an authority's certificate says of a key
is evidence; who is trusted is in the trust list alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
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
from yinxin_proto.certificate import parse
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.jose import x5c_chain
from yinxin_proto.leaf import evidence_hash
from yinxin_proto.strict import parse_json
from yinxin_trust import schema
from yinxin_trust.directory import touch
from yinxin_trust.keyring import Keyring
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
_IN_REPOSITORY: Final = (ROOT, "licence", "status", "tls")
"""Authorities of the trust list; a verifier refuses another's list in the repository."""

RegisterFactory = Callable[[str], Register]
"""Opens the register of the authority of a name."""


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
) -> CertificateAuthority:
    """Open one authority: one of `ISSUING`, or the offline ``root``."""
    purpose = Purpose.ROOT if name == ROOT else ISSUING[name][0]
    return CertificateAuthority(
        certificate=getattr(anchors, name),
        signer=keyring.signer(purpose),
        register=registers(name),
        clock=clock,
        entropy=entropy,
        locations=keyring.namespace.locations(name, online=name != ROOT),
        is_compromised=lambda spki: _is_compromised_elsewhere(registers, name, spki),
    )


def _is_compromised_elsewhere(registers: RegisterFactory, name: str, spki: bytes) -> bool:
    others = (registers(other) for other in AUTHORITIES if other != name)
    return any(is_compromised(register, spki) for register in others)


def sign_lists(name: str, authority: CertificateAuthority) -> dict[str, bytes]:
    """Sign an authority's lists: its own under its name, and its shards' if it has any."""
    lists = authority.sign_crls(lifetime=crl_lifetime(name))
    return {name + shard: crl for shard, crl in lists.items()}


def crl_lifetime(name: str) -> timedelta:
    """Return how long a new list of an authority holds."""
    return ROOT_CRL_LIFETIME if name == ROOT else CRL_LIFETIME


def is_crl_due(crl: bytes | None, name: str, now: datetime) -> bool:
    """Tell whether an authority's list is past half its life, or missing."""
    if crl is None:
        return True
    age = now - x509.load_der_x509_crl(crl).last_update_utc
    return age * 2 >= crl_lifetime(name)


def put_crls(conn: Connection, crls: Mapping[str, bytes], clock: Clock) -> None:
    """Keep the newest CRLs, and the evidence that new licences will commit to."""
    for name, crl in crls.items():
        put_setting(conn, f"crl/{name}", crl.hex())
    if "licence" in crls:
        _renew_evidence(conn, milliseconds(clock.now()))
    touch(conn)


def get_crl(conn: Connection, name: str) -> bytes | None:
    """Return the newest CRL of an authority, or of a shard of one (``tls-s3``)."""
    text = get_setting(conn, f"crl/{name}")
    return None if text is None else bytes.fromhex(text)


def get_crls(conn: Connection, authority: str = "") -> dict[str, bytes]:
    """Return every list that is kept, or those of one authority, by name."""
    s = schema.setting.c
    rows = conn.execute(
        select(s.name, s.value).where(s.name.like(f"crl/{authority}%")).order_by(s.name)
    )
    return {row.name.removeprefix("crl/"): bytes.fromhex(row.value) for row in rows}


def get_crl_for(conn: Connection, name: str, certificate: bytes) -> bytes | None:
    """Return the newest list of an authority that speaks for a certificate of its."""
    urls = parse(certificate).crl_urls
    own = get_crl(conn, name + shard_of(urls[0])) if urls else None
    return own if own is not None else get_crl(conn, name)


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
    rows = conn.execute(select(k.c.thumbprint, k.c.x5c).where(k.c.purpose == "licence")).all()
    for row in rows:
        chain = x5c_chain({"x5c": parse_json(row.x5c.encode())})
        crl = get_crl_for(conn, "licence", chain[0]) or b""
        digest = put_evidence(conn, chain, crl, now_ms)
        conn.execute(update(k).where(k.c.thumbprint == row.thumbprint).values(evidence_hash=digest))
