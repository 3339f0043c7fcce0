"""What a thief does with a region's keys, outside it and through it; and the drivers of recovery.

Everything is real: the key is copied out of the store, the log is the region's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from support.officers import Officers
from support.small_region import SmallRegion
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_proto.approvalcopy import ApprovalCopy
from yinxin_proto.issuerequest import IssueRequest
from yinxin_proto.jose import sign_compact
from yinxin_proto.licence import LicenceFile
from yinxin_proto.signature import Signer
from yinxin_proto.strict import b64url_decode
from yinxin_trust.compromise import Compromise, Proposal
from yinxin_trust.intake import CheckedRequest
from yinxin_trust.keystanding import StandingKey, find_key
from yinxin_trust.ledger import LICENCES, receipt
from yinxin_trust.minting import Mint, add_rows
from yinxin_trust.record import LicenceRecord
from yinxin_trust.region import Region
from yinxin_trust.rows import RowBatch


def stolen_signer(region: Region, owner: str, version: int = 1) -> Signer:
    """Copy an authority's private licence-signing key out of the region's store."""
    return region.keyring.online.signer(KeyRef(owner, Purpose.LICENCE, version))


def licence_key(region: Region, owner: str, version: int = 1) -> StandingKey:
    """The records of an authority's licence-signing key."""
    with region.storage.read() as conn:
        return find_key(conn, f"{owner}.licence.{version}")


def file_of(region: Region, record: LicenceRecord) -> bytes:
    """A licence's file, with its receipt under the newest checkpoint."""
    with region.storage.read() as conn:
        return record.file(receipt(conn, LICENCES, record.entry))


def forge_outside(
    genuine: bytes, signer: Signer, *, issued_at: datetime, serial: str = "甲"
) -> bytes:
    """Sign a licence outside the service, backdated, under a real licence's receipt.

    The thief copies header, opening and receipt of a genuine licence, and makes
    the claims say what he likes.
    """
    file = LicenceFile.parse(genuine)
    token, _, disclosures = file.sd_jwt.partition("~")
    header_text, payload_text, _ = token.split(".")
    payload = json.loads(b64url_decode(payload_text))
    payload["iat"] = int(issued_at.timestamp())
    payload["ZZMC"] = f"伪造的许可证{serial}"
    header = {"x5c": json.loads(b64url_decode(header_text))["x5c"]}
    forged = sign_compact(
        signer, typ="dc+sd-jwt", header=header, payload=json.dumps(payload).encode()
    )
    return LicenceFile(f"{forged}~{disclosures}", file.opening, file.receipt).to_bytes()


def forge_through(
    small: SmallRegion,
    request: bytes,
    approval: bytes,
    *,
    claimed_request: bytes | None = None,
    keep_row: bool = True,
) -> LicenceRecord:
    """Issue through a hijacked service: its own internals, without any check.

    Args:
        small: The region.
        request: What the licence is to say.
        approval: Digest of an approval that the leaf claims: made up, or another's.
        claimed_request: Digest that the leaf claims; the request's own unless given.
        keep_row: Leave the row behind that explains the entry.
    """
    region = small.region
    parsed = IssueRequest.parse(request)
    with region.storage.read() as conn:
        snapshot = region.directory.snapshot(conn)
        authority = snapshot.authority(parsed.issuer)
        type_ = snapshot.catalogue.get(parsed.type)
    issuer, key = region.directory.issuer(authority)
    checked = CheckedRequest(request=parsed, digest=claimed_request or parsed.digest, type=type_)
    batch = RowBatch()
    (holder,) = parsed.holders
    with region.storage.read() as conn:
        found = region.subjects.find(conn, {holder.number: holder.name})
    owner = found.get(holder.number) or region.subjects.add(batch, holder.number, name=holder.name)
    (allocation,) = region.allocator.take(1)
    minted = Mint(
        namespace=region.namespace,
        authority=authority,
        issuer=issuer,
        key=key,
        entropy=region.entropy,
        now=region.clock.now() - timedelta(hours=1),
    ).mint(checked, approval_digest=approval, allocation=allocation, holders=[owner])
    add_rows(batch, minted, checked=checked, allocation=allocation, key=key, vault=region.vault)
    if not keep_row:
        kept = RowBatch()
        for table, rows in batch.tables():
            if table.name == "log_entry":
                for row in rows:
                    kept.add(table, row)
        batch = kept
    region.committer.commit(batch)
    return minted.record


def copies(small: SmallRegion, *batches: Sequence[bytes]) -> list[tuple[str, ApprovalCopy]]:
    """Approve batches as the authority does, keeping its copies."""
    made = []
    for batch in batches:
        approval = small.approve(batch)
        made.append((approval, ApprovalCopy.of(approval, tuple(batch))))
    return made


def compromise_of(region: Region) -> Compromise:
    """What declares keys of a region compromised, with no server beside it."""
    return Compromise(
        registrar=region.registrar, subjects=region.subjects, sequence=region.sequence
    )


def propose(region: Region, key: str, kept: Sequence[ApprovalCopy]) -> Proposal:
    """Stop a key and work out what of it stands."""
    work = compromise_of(region)
    stock = work.stock()
    stock.add(kept)
    return work.propose(key, stock)


def declare(officers: Officers, proposal: Proposal) -> None:
    """Have both officers sign, and carry it out."""
    region = officers.region
    operation = proposal.operation(region.registrar)
    compromise_of(region).carry_out(proposal.record, [officers.sign(operation)])
