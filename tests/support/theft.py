"""What a thief does with a region's keys, outside it and through it; and the drivers of recovery.

Everything is real: the key is copied out of the store, the log is the region's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from support.officers import Officers
from support.requests import AUTHORITY
from support.small_region import CONTEXT, SmallRegion
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_proto.approvalcopy import ApprovalCopy
from yinxin_proto.clock import Entropy
from yinxin_proto.issuer import IssuedSdJwt, Issuer
from yinxin_proto.issuerequest import IssueRequest
from yinxin_proto.jose import encode_x5c, sign_compact
from yinxin_proto.licence import LicenceFile
from yinxin_proto.sdjwt import SD
from yinxin_proto.signature import Signer
from yinxin_proto.strict import Json, b64url_decode
from yinxin_proto.trustlist import TrustList
from yinxin_trust.compromise import Compromise, Proposal
from yinxin_trust.intake import CheckedRequest
from yinxin_trust.issuance import IssueCommand
from yinxin_trust.keystanding import StandingKey, find_key
from yinxin_trust.ledger import LICENCES, receipt
from yinxin_trust.minting import Mint, add_rows
from yinxin_trust.pack_export import collect, write_zip
from yinxin_trust.publication import published_trust_list
from yinxin_trust.record import LicenceRecord
from yinxin_trust.refresh import refresh
from yinxin_trust.region import Region
from yinxin_trust.rows import RowBatch
from yinxin_trust.status import StatusSigner
from yinxin_trust.verification import OnlineVerifier, Question
from yinxin_verifier.decision import verify
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.pack import PackLoader
from yinxin_verifier.policy import OFFLINE
from yinxin_verifier.report import Report

KEY = f"{AUTHORITY}.licence.1"
"""The key that is stolen."""


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
    genuine: bytes,
    signer: Signer,
    *,
    issued_at: datetime,
    serial: str = "甲",
    chain: tuple[bytes, ...] = (),
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
    x5c = encode_x5c(chain) if chain else json.loads(b64url_decode(header_text))["x5c"]
    header = {"x5c": x5c}
    forged = sign_compact(
        signer, typ="dc+sd-jwt", header=header, payload=json.dumps(payload).encode()
    )
    return LicenceFile(f"{forged}~{disclosures}", file.opening, file.receipt).to_bytes()


class HidingIssuer(Issuer):
    """The service's issuer, made to conceal what the row will not show."""

    def __init__(self, signer: Signer, header: Mapping[str, Json], path: str) -> None:
        super().__init__(signer=signer, header=header)
        self._path = path
        self.hidden: list[str] = []
        """Disclosures that the thief keeps for whoever paid him."""

    def issue(
        self,
        claims: Mapping[str, Json],
        *,
        entropy: Entropy,
        decoys: int | Sequence[bytes] = 0,
    ) -> IssuedSdJwt:
        (holder,) = claims["CZZT"]
        ways: dict[str, dict[str, Json]] = {
            "holder": {"CZZT": [holder, SD({"CZZT": "虚构的买主", "CZZTDMLX": "虚构"})]},
            "field": {"KZ_MDD": SD("虚构市")},
            "name": {"ZZMC": "虚构的更好的证照"},
            "issuer": {"ZZBFJG": "虚构的更高的机构"},
        }
        added = ways[self._path]
        issued = super().issue({**claims, **added}, entropy=entropy, decoys=decoys)
        shown = super().issue(claims, entropy=entropy, decoys=decoys)
        names = {one.name for one in shown.disclosures if one.name}
        kept = [one for one in issued.disclosures if one.name in names]
        self.hidden = [one.encoded for one in issued.disclosures if one not in kept]
        return IssuedSdJwt(issued.issuer_jwt, tuple(one.encoded for one in kept), issued.hash_name)


def forge_through(
    region: Region,
    request: bytes,
    approval: bytes,
    *,
    claimed_request: bytes | None = None,
    keep_row: bool = True,
    backdated: timedelta = timedelta(hours=1),
    hiding: HidingIssuer | None = None,
    again: bool = False,
) -> LicenceRecord:
    """Issue through a hijacked service: its own internals, without any check.

    Args:
        region: The region, opened by the thief.
        request: What the licence is to say.
        approval: Digest of an approval that the leaf claims: made up, or another's.
        claimed_request: Digest that the leaf claims; the request's own unless given.
        keep_row: Leave the row behind that explains the entry.
        backdated: By how much it lies about when it was issued.
        hiding: Signs in the place of the service's issuer.
        again: The licence's number is another's already: claim none.
    """
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
        issuer=hiding or issuer,
        key=key,
        entropy=region.entropy,
        now=region.clock.now() - backdated,
    ).mint(checked, approval_digest=approval, allocation=allocation, holders=[owner])
    add_rows(batch, minted, checked=checked, allocation=allocation, key=key, vault=region.vault)
    if again or not keep_row:
        kept = RowBatch()
        for table, rows in batch.tables():
            if table.name == "log_entry" or (keep_row and table.name != "licence_number"):
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


@dataclass
class Scene:
    """A region with genuine licences, the authority's copies, and two officers."""

    small: SmallRegion
    officers: Officers
    copies: list[ApprovalCopy]
    genuine: list[LicenceRecord]

    @classmethod
    def of(cls, small: SmallRegion) -> Scene:
        """Three genuine licences, and two officers in office."""
        made = cls(small, Officers.appoint(small.region), [], [])
        made.issue(3)
        small.later(minutes=1)
        return made

    def command(self, requests: list[bytes]) -> IssueCommand:
        """A batch as the authority hands it in: it keeps a copy."""
        approval = self.small.approve(requests)
        self.copies.append(ApprovalCopy.of(approval, tuple(requests)))
        small = self.small
        return IssueCommand(small.caller(), CONTEXT, small.request_id(), requests, approval)

    def issue(self, count: int = 1) -> list[LicenceRecord]:
        requests = [self.small.issue_request() for _ in range(count)]
        made = self.small.region.issuance.issue(self.command(requests))
        self.small.region.sequence()
        self.genuine += made
        return made

    def propose(self, key: str = KEY) -> Proposal:
        return propose(self.small.region, key, self.copies)

    def file(self, record: LicenceRecord) -> bytes:
        return file_of(self.small.region, record)

    def online(self, presentation: bytes) -> Report:
        region = self.small.region
        return OnlineVerifier(
            storage=region.storage,
            holding=region.holding,
            statuses=StatusSigner(keyring=region.keyring, clock=region.clock),
            clock=region.clock,
        ).verify(presentation, Question())

    def offline(self, pack: Path, presentation: bytes) -> Report:
        now = self.small.clock.now()
        loaded = PackLoader(trust_first_use=True).load(pack, now)
        return verify(Evidence(licence=presentation, trust=loaded.trust), OFFLINE, now)

    def pack(self, path: Path) -> Path:
        refresh(self.small.region)
        with self.small.region.storage.read() as conn:
            write_zip(collect(conn, self.small.clock.now()), path)
        return path

    def trust_list(self) -> TrustList:
        with self.small.region.storage.read() as conn:
            return TrustList.parse(published_trust_list(conn, self.small.clock.now()))
