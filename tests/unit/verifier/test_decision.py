"""Each step of the verdict against the attacks that it is there for.

Every attack starts from a world in which the licence passes, changes one
thing, and states the one finding that must come of it.
"""

# ruff: noqa: ANN401 - options are passed on as they are

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

import pytest

from support.clock import SeededEntropy
from support.hierarchy import ORGANISATION
from support.region_builder import CODE, ORIGIN, STATUS_URI, TYPE, Issued, RegionBuilder
from yinxin_ca.profile import TLS_CLIENT
from yinxin_ca.subject import AlternativeNames, Subject, principal_uri
from yinxin_proto import merkle, note, sdjwt
from yinxin_proto.certificate import parse as parse_certificate
from yinxin_proto.cosignature import CosignatureSigner
from yinxin_proto.crl import RevocationReason
from yinxin_proto.disclosure import Disclosure
from yinxin_proto.identifier import new as new_identifier
from yinxin_proto.jose import encode_x5c, sign_compact
from yinxin_proto.keybinding import bind
from yinxin_proto.keyrecord import KeyPurpose, KeyState, Pin
from yinxin_proto.licence import LicenceFile
from yinxin_proto.logkey import FrozenHead, LogKey, LogKind, Witnesses
from yinxin_proto.mldsa import ML_DSA_44
from yinxin_proto.note import NoteSigner
from yinxin_proto.scope import Authority, TypeScope
from yinxin_proto.statuslist import StatusList
from yinxin_proto.strict import b64url_decode, b64url_encode
from yinxin_proto.suite import ES256
from yinxin_verifier import reason
from yinxin_verifier.assembly import region_trust
from yinxin_verifier.decision import STEPS, Request, verify
from yinxin_verifier.evidence import Evidence, LogAnswer, TrustSet
from yinxin_verifier.pinnedtree import PinnedTree
from yinxin_verifier.policy import OFFLINE, ONLINE, BindingRule, Policy, ReceiptRule
from yinxin_verifier.reason import Finding, Indication, Outcome
from yinxin_verifier.region import Freshness
from yinxin_verifier.report import Report

BARE = dataclasses.replace(OFFLINE, name="BARE", receipt=ReceiptRule.NOT_REQUIRED)
OTHER_TYPE = "11100000MB03271699002"
HOLDER = ES256.load_deterministic(401)
HOLDER_JWK = ES256.public_to_jwk(HOLDER.public_key)
ASKED = Request(purpose="虚构事项", audience="https://bank.example", nonce="n-1")


@dataclass
class World:
    """A region in which one licence passes, for an attack to change one thing of."""

    region: RegionBuilder = field(default_factory=RegionBuilder)

    def __post_init__(self) -> None:
        self.region.fill_log(5)

    def judge(
        self,
        licence: bytes | str,
        *,
        policy: Policy = OFFLINE,
        request: Request | None = None,
        trust: Any = None,
        now: timedelta = timedelta(0),
        at: Any = None,
        **evidence: Any,
    ) -> Report:
        """Verify, ``now`` after where the region's clock stands."""
        believed = trust if trust is not None else self.region.trust()
        return verify(
            Evidence(licence=licence, trust=believed, **evidence),
            policy,
            self.region.clock.now() + now,
            at,
            request,
        )

    def judge_issued(self, issued: Issued, **options: Any) -> Report:
        """Verify a licence with its receipt, two log entries later."""
        self.region.fill_log(2)
        return self.judge(self.region.file(issued), **options)

    def judge_changed(self, change: Callable[[dict[str, Any]], None], **options: Any) -> Report:
        """Verify a licence whose claims the *issuer* got wrong."""
        return self.judge_issued(self.region.issue(change=change), **options)


Attack = Callable[[World], Report]
ATTACKS: dict[str, tuple[str, Finding, str | None, Attack]] = {}


def attack(step: str, finding: Finding, detail: str | None = None) -> Callable[[Attack], Attack]:
    """Register an attack with the step and the finding that must come of it."""

    def register(function: Attack) -> Attack:
        ATTACKS[function.__name__] = (step, finding, detail, function)
        return function

    return register


# --- format, type -------------------------------------------------------------


@attack("format", reason.FORMAT, "SD_JWT_FORM")
def a_token_without_its_tilde(world: World) -> Report:
    return world.judge(world.region.issue().sd_jwt.split("~")[0], policy=BARE)


@attack("format", reason.FORMAT, "JSON_DUPLICATE_MEMBER")
def a_member_that_occurs_twice(world: World) -> Report:
    payload = b'{"iss":"a","iss":"b"}'
    token = sign_compact(world.region.key, typ=sdjwt.TYP, payload=payload)
    return world.judge(token + "~", policy=BARE)


@attack("format", reason.FORMAT, "LICENCE_FILE")
def a_file_with_a_member_that_nobody_knows(world: World) -> Report:
    return world.judge(b'{"sd_jwt":"a","trust_me":true}')


@attack("format", reason.FORMAT, "TOO_LARGE")
def an_oversized_token(world: World) -> Report:
    return world.judge("a" * (1 << 20) + "~", policy=BARE)


@attack("format", reason.FORMAT, "JWS_ALGORITHM")
def an_unsigned_token(world: World) -> Report:
    header, payload, _ = world.region.issue().sd_jwt.split("~")[0].split(".")
    header = b64url_encode(b'{"alg":"none","typ":"dc+sd-jwt"}')
    return world.judge(f"{header}.{payload}.AA~", policy=BARE)


@attack("type", reason.TOKEN_TYPE)
def a_token_of_another_kind_under_the_same_key(world: World) -> Report:
    return world.judge_issued(world.region.issue(typ="JWT"))


@attack("type", reason.LICENCE_TYPE)
def a_credential_that_is_no_licence(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(vct="urn:example:diploma"))


# --- region, freshness --------------------------------------------------------


@attack("region", reason.REGION)
def a_licence_of_a_region_that_home_does_not_recognise(world: World) -> Report:
    foreign = RegionBuilder(domain="elsewhere.example.cn")
    return world.judge(foreign.file(foreign.issue()), trust=world.region.trust())


@attack("region", reason.ISSUER)
def an_issuer_that_is_no_authority(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(iss="https://evil.example/"))


@attack("freshness", reason.TRUST_EXPIRED)
def a_trust_list_that_somebody_froze(world: World) -> Report:
    issued = world.region.issue()
    trust = world.region.trust(lifetime=timedelta(days=2))
    return world.judge(world.region.file(issued), trust=trust, now=timedelta(days=2))


@attack("freshness", reason.TRUST_STALE)
def a_trust_list_older_than_the_policy_allows(world: World) -> Report:
    policy = dataclasses.replace(OFFLINE, max_trust_age=timedelta(hours=1))
    return world.judge_issued(world.region.issue(), policy=policy, now=timedelta(hours=2))


@attack("freshness", reason.TRUST_STALE, "TRUST_FROM_FUTURE")
def a_repository_dated_ahead_so_that_it_never_grows_old(world: World) -> Report:
    issued = world.region.issue()
    return world.judge(world.region.file(issued), now=-timedelta(minutes=2))


# --- key, chain ---------------------------------------------------------------


@attack("key", reason.KEY_NOT_TRUSTED)
def a_key_with_a_perfect_chain_that_is_not_in_the_trust_list(world: World) -> Report:
    key = ES256.load_deterministic(666)
    return world.judge_issued(world.region.issue(key=key, chain=world.region.certify(key)))


@attack("key", reason.KEY_NOT_TRUSTED, "KEY_PURPOSE")
def an_approval_key_that_signs_a_licence(world: World) -> Report:
    key = ES256.load_deterministic(667)
    world.region.add_key(key, purpose=KeyPurpose.APPROVAL)
    return world.judge_issued(world.region.issue(key=key, chain=world.region.certify(key)))


@attack("key", reason.KEY_NOT_TRUSTED, "KEY_PURPOSE")
def a_status_key_that_signs_a_licence(world: World) -> Report:
    region = world.region
    return world.judge_issued(region.issue(key=region.status_key, chain=region.status_chain))


@attack("key", reason.KEY_OF_ANOTHER)
def an_authority_that_signs_in_the_name_of_another(world: World) -> Report:
    issued = world.region.issue(
        change=lambda claims: claims.update(iss=claims["iss"].replace(CODE, "11350300000000027U"))
    )
    listed = world.region.trust_list()
    victim = Authority(code="11350300000000027U", name="虚构卫生健康委员会")
    trust_list = dataclasses.replace(listed, authorities=(*listed.authorities, victim))
    trust = world.region.trust(trust_list=trust_list)
    return world.judge(world.region.file(issued), trust=trust)


@attack("key", reason.KEY_OF_ANOTHER)
def an_authority_that_the_region_does_not_list(world: World) -> Report:
    return world.judge_changed(
        lambda claims: claims.update(iss=claims["iss"].replace(CODE, "11350300000000027U"))
    )


@attack("key", reason.ALGORITHM)
def a_message_that_names_another_algorithm(world: World) -> Report:
    def rename(header: dict[str, Any]) -> None:
        header["alg"] = "ES384"

    return world.judge(rewrite_header(world.region.issue().sd_jwt, rename), policy=BARE)


@attack("key", reason.NO_CHAIN, "JWS_X5C")
def a_token_without_certificates(world: World) -> Report:
    return world.judge_issued(world.region.issue(header={}))


@attack("key", reason.SUITE_UNKNOWN)
def a_key_of_a_suite_that_this_build_lacks(world: World) -> Report:
    issued = world.region.issue()
    listed = world.region.trust_list()
    (authority,) = listed.authorities
    keys = tuple(dataclasses.replace(key, suite="X-NEW") for key in authority.keys)
    changed = dataclasses.replace(authority, keys=keys)
    trust_list = dataclasses.replace(listed, authorities=(changed,))
    return world.judge(world.region.file(issued), trust=world.region.trust(trust_list=trust_list))


@attack("chain", reason.NO_CHAIN)
def a_trusted_key_certified_by_another_regions_ca(world: World) -> Report:
    other = RegionBuilder(entropy=SeededEntropy("another"))
    return world.judge_issued(world.region.issue(chain=other.chain))


@attack("chain", reason.CHAIN_CONSTRAINTS, "CHAIN_SIGNATURE")
def a_certificate_that_was_altered(world: World) -> Report:
    leaf, *above = world.region.chain
    altered = leaf[:-1] + bytes([leaf[-1] ^ 1])
    return world.judge_issued(world.region.issue(chain=(altered, *above)))


@attack("chain", reason.CHAIN_CONSTRAINTS, "CERTIFICATE_PURPOSE")
def a_tls_certificate_that_signs_a_licence(world: World) -> Report:
    # The trust list was talked into naming the TLS issuing CA for licences.
    hierarchy = world.region.hierarchy

    leaf = hierarchy.tls.issue(
        TLS_CLIENT,
        subject=Subject(organisation=ORGANISATION, common_name="housing-bureau"),
        public_key=world.region.key.public_key,
        names=AlternativeNames(uri=principal_uri(world.region.domain, "housing-bureau")),
    )
    issued = world.region.issue(chain=hierarchy.tls.chain(leaf))
    listed = world.region.trust_list()
    anchors = dataclasses.replace(listed.anchors, licence=listed.anchors.tls, tls=())
    trust_list = dataclasses.replace(listed, anchors=anchors)
    return world.judge(world.region.file(issued), trust=world.region.trust(trust_list=trust_list))


# --- signature, disclosures ---------------------------------------------------


@attack("signature", reason.SIGNATURE, "SIGNATURE")
def a_claim_changed_after_signing(world: World) -> Report:
    token, *rest = world.region.issue().sd_jwt.split("~")
    header, payload, signature = token.split(".")
    claims = json.loads(b64url_decode(payload))
    claims["ZZMC"] = "虚构的另一种许可证"
    changed = b64url_encode(json.dumps(claims).encode())
    return world.judge("~".join([f"{header}.{changed}.{signature}", *rest]), policy=BARE)


@attack("signature", reason.SIGNATURE, "SIGNATURE")
def a_header_borrowed_from_the_real_issuer(world: World) -> Report:
    thief = ES256.load_deterministic(666)
    return world.judge_issued(world.region.issue(key=thief))


@attack("disclosures", reason.DISCLOSURE, "UNREFERENCED_DISCLOSURE")
def a_disclosure_that_nobody_signed(world: World) -> Report:
    forged = disclosure(["c2FsdA", "KZ_F9", "虚构"])
    return world.judge(world.region.issue().sd_jwt + forged + "~", policy=BARE)


@attack("disclosures", reason.DISCLOSURE, "UNREFERENCED_DISCLOSURE")
def a_disclosed_value_that_was_changed(world: World) -> Report:
    presented = sdjwt.parse(world.region.issue().sd_jwt)
    first = presented.disclosures[0]
    return world.judge("~".join([presented.issuer_jwt, altered(first), ""]), policy=BARE)


@attack("disclosures", reason.DISCLOSURE, "RESERVED_CLAIM_SD")
def a_disclosed_claim_named_like_the_digests(world: World) -> Report:
    return world.judge(plant(world, ["c2FsdA", "_sd", ["x"]]), policy=BARE)


@attack("disclosures", reason.DISCLOSURE, "RESERVED_CLAIM_DOTS")
def a_disclosed_claim_named_like_an_element(world: World) -> Report:
    return world.judge(plant(world, ["c2FsdA", "...", "x"]), policy=BARE)


@attack("disclosures", reason.DISCLOSURE, "DUPLICATE_DIGEST")
def a_digest_that_occurs_twice(world: World) -> Report:
    def repeat(claims: dict[str, Any]) -> None:
        claims["_sd"] = ["A" * 43, "A" * 43]

    return world.judge(sign_raw(world, repeat), policy=BARE)


@attack("disclosures", reason.DISCLOSURE, "CONCEALED_CLAIM")
def an_expiry_that_can_be_left_out(world: World) -> Report:
    return world.judge(plant(world, ["c2FsdA", "cnf", {}]), policy=BARE)


# --- claims, identifier -------------------------------------------------------


@attack("claims", reason.CLAIMS, "CLAIM_EXP")
def an_expiry_that_is_not_the_date_that_people_read(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(exp=claims["exp"] + 86_400))


@attack("claims", reason.CLAIMS, "CLAIM_EXP")
def a_date_without_its_expiry(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.pop("exp"))


@attack("claims", reason.CLAIMS, "CLAIM_NBF")
def a_first_day_that_is_not_enforced(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.pop("nbf"))


@attack("claims", reason.CLAIMS, "CLAIM_NBF")
def a_first_day_that_machines_read_earlier_than_people(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(ZZYXQQSRQ="2030-01-01"))


@attack("claims", reason.CLAIMS, "CLAIM_ZZYXQQSRQ")
def a_first_day_that_is_no_date(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(ZZYXQQSRQ="\x1b[2J"))


@attack("claims", reason.CLAIMS, "CLAIM_ZZYXQJZRQ")
def a_last_day_in_a_spelling_that_only_some_readers_know(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(ZZYXQJZRQ="20351231"))


@attack("claims", reason.CLAIMS, "CLAIM_EXP")
def an_expiry_written_as_a_fraction(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(exp=float(claims["exp"])))


@attack("claims", reason.CLAIMS, "CLAIM_STATUS")
def a_status_index_that_is_true(world: World) -> Report:
    return world.judge_changed(lambda claims: claims["status"]["status_list"].update(idx=True))


@attack("claims", reason.CLAIMS, "CLAIM_STATUS")
def a_licence_that_refers_to_no_status(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.pop("status"))


@attack("claims", reason.CLAIMS, "CLAIM_ZZMC")
def a_licence_without_its_name(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.pop("ZZMC"))


@attack("claims", reason.CLAIMS, "CLAIM_IAT")
def a_licence_that_does_not_say_when(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(iat=True))


@attack("identifier", reason.IDENTIFIER_CHECK)
def an_identifier_with_a_slip_of_the_hand(world: World) -> Report:
    def slip(claims: dict[str, Any]) -> None:
        right = claims["ZZBS"][-1]
        claims["ZZBS"] = claims["ZZBS"][:-1] + ("A" if right != "A" else "B")

    return world.judge_changed(slip)


@attack("identifier", reason.IDENTIFIER, "IDENTIFIER_FORMAT")
def an_identifier_of_another_form(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(ZZBS="urn:uuid:1"))


@attack("identifier", reason.IDENTIFIER_MISMATCH)
def an_identifier_of_another_type(world: World) -> Report:
    other = str(new_identifier(type=OTHER_TYPE, issuer=CODE, serial="1"))
    return world.judge_changed(lambda claims: claims.update(ZZBS=other))


@attack("identifier", reason.IDENTIFIER_MISMATCH)
def an_issuing_authority_that_is_not_the_signer(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(ZZBFJGDM="11350300000000027U"))


# --- opening, inclusion, checkpoint -------------------------------------------


@attack("opening", reason.NO_RECEIPT)
def a_licence_without_its_receipt(world: World) -> Report:
    return world.judge(world.region.issue().sd_jwt)


@attack("opening", reason.RECEIPT, "RECEIPT")
def a_receipt_that_is_none(world: World) -> Report:
    issued = world.region.issue()
    return world.judge(issued.sd_jwt, receipt=b"seen", opening=issued.opening.to_bytes())


@attack("opening", reason.OPENING, "OPENING")
def an_opening_with_a_member_left_out(world: World) -> Report:
    issued = world.region.issue()
    receipt = world.region.receipt(issued).to_bytes()
    return world.judge(issued.sd_jwt, receipt=receipt, opening=b'{"v":1}')


@attack("opening", reason.NOT_LOGGED)
def a_licence_that_the_log_denies(world: World) -> Report:
    issued = world.region.issue(logged=False)
    return world.judge(issued.sd_jwt, policy=ONLINE, log_answer=LogAnswer.ABSENT)


@attack("opening", reason.LOG_UNREACHABLE)
def a_log_that_could_not_be_asked(world: World) -> Report:
    issued = world.region.issue()
    return world.judge(issued.sd_jwt, policy=ONLINE, log_answer=LogAnswer.UNREACHABLE)


@attack("inclusion", reason.INCLUSION, "ROOT_MISMATCH")
def a_receipt_borrowed_from_another_licence(world: World) -> Report:
    honest, forged = world.region.issue(), world.region.issue(logged=False)
    file = world.region.file(honest, sd_jwt=forged.sd_jwt)
    return world.judge(file)


@attack("inclusion", reason.INCLUSION, "ROOT_MISMATCH")
def a_licence_signed_anew_over_the_same_opening(world: World) -> Report:
    issued = world.region.issue()
    again = world.region.issue(
        change=lambda claims: claims.update({**issued.claims, "ZZMC": "另一证"}), logged=False
    )
    return world.judge(world.region.file(issued, sd_jwt=again.sd_jwt))


@attack("inclusion", reason.RECEIPT, "BASE64")
def a_receipt_with_a_broken_checkpoint(world: World) -> Report:
    issued = world.region.issue()
    receipt = world.region.receipt(issued)
    broken = dataclasses.replace(
        receipt, checkpoint=receipt.checkpoint.replace(b"=\n\n", b"\n\n", 1)
    )
    return world.judge(world.region.file(issued, receipt=broken))


@attack("checkpoint", reason.CHECKPOINT, "NOTE_SIGNATURE")
def a_tree_that_the_log_never_signed(world: World) -> Report:
    issued = world.region.issue()
    receipt = world.region.receipt(issued)
    forged = world.region.checkpoint(signer=NoteSigner(name=ORIGIN, key=b"\x06" * 32))
    own = world.region.log_signer.vkey
    # The thief's line under the log's own name and key identifier.
    lines = forged.decode().rsplit("\n\n", 1)
    signature = note.parse(forged).signatures[0].signature
    line = note.NoteSignature(own.name, own.key_id, signature).to_line()
    forged = f"{lines[0]}\n\n{line}\n".encode()
    return world.judge(
        world.region.file(issued, receipt=dataclasses.replace(receipt, checkpoint=forged))
    )


@attack("checkpoint", reason.CHECKPOINT, "LOG_SIGNATURE")
def a_tree_that_only_a_stranger_signed(world: World) -> Report:
    issued = world.region.issue()
    forged = world.region.checkpoint(signer=NoteSigner(name=ORIGIN, key=b"\x06" * 32))
    receipt = dataclasses.replace(world.region.receipt(issued), checkpoint=forged)
    return world.judge(world.region.file(issued, receipt=receipt))


@attack("checkpoint", reason.LOG_UNKNOWN)
def a_log_of_the_thiefs_own(world: World) -> Report:
    issued = world.region.issue()
    forged = world.region.checkpoint(signer=NoteSigner(name="evil.example/log", key=b"\x06" * 32))
    receipt = dataclasses.replace(world.region.receipt(issued), checkpoint=forged)
    return world.judge(world.region.file(issued, receipt=receipt))


@attack("checkpoint", reason.LOG_UNKNOWN, "LOG_KIND")
def a_licence_logged_where_uses_are_logged(world: World) -> Report:
    region = world.region
    issued = region.issue()
    origin = ORIGIN.replace("/licences/", "/uses/")
    signer = NoteSigner(name=origin, key=b"\x07" * 32)
    uses = LogKey(origin=origin, kind=LogKind.USES, vkey=signer.vkey.to_text())
    listed = region.trust_list()
    trust_list = dataclasses.replace(listed, logs=(*listed.logs, uses))
    receipt = dataclasses.replace(
        region.receipt(issued), checkpoint=region.checkpoint(signer=signer)
    )
    trust = region.trust(trust_list=trust_list)
    return world.judge(region.file(issued, receipt=receipt), trust=trust)


@attack("checkpoint", reason.EQUIVOCATION)
def a_log_that_shows_two_faces_of_one_size(world: World) -> Report:
    issued = world.region.issue()
    other = world.region.checkpoint(root=bytes(32))
    return world.judge(world.region.file(issued), trust=world.region.trust(checkpoint=other))


@attack("checkpoint", reason.EQUIVOCATION)
def a_log_whose_receipts_lie_on_another_branch(world: World) -> Report:
    region = world.region
    issued = region.issue()
    file, size = region.file(issued), len(region.leaves)
    region.leaves[0] = bytes(32)
    region.fill_log(3)
    trust = region.trust(proofs=[(size, len(region.leaves))])
    return world.judge(file, trust=trust)


@attack("checkpoint", reason.BEYOND_SEAL)
def an_entry_beyond_the_point_where_the_log_was_sealed(world: World) -> Report:
    head = world.region.head()
    world.region.frozen = FrozenHead(size=head.size, root=head.root)
    return world.judge_issued(world.region.issue())


@attack("checkpoint", reason.SEAL_UNLINKED)
def an_entry_that_nothing_ties_to_the_sealed_log(world: World) -> Report:
    issued = world.region.issue()
    head = world.region.head()
    world.region.frozen = FrozenHead(size=head.size, root=head.root)
    return world.judge_issued(issued)


@attack("checkpoint", reason.SEAL_OTHER_ENTRY)
def a_forgery_in_an_honest_entrys_place_in_the_sealed_log(world: World) -> Report:
    # The thief has the log's key: he signs whatever tree he likes, below the seal.
    region = world.region
    honest = region.issue()
    size = len(region.leaves)
    file = forged_receipt(world, honest, size)
    head = region.head()
    region.frozen = FrozenHead(size=head.size, root=head.root)
    return world.judge(file, trust=region.trust(trees=[(size, ())]))


@attack("checkpoint", reason.EQUIVOCATION)
def a_sealed_logs_tree_that_a_proof_contradicts(world: World) -> Report:
    region = world.region
    honest = region.issue()
    file = forged_receipt(world, honest, len(region.leaves))
    head = region.head()
    region.frozen = FrozenHead(size=head.size, root=head.root)
    return world.judge(file, trust=region.trust())


def close(world: World) -> None:
    """Retire the log's key at the present head."""
    head = world.region.head()
    world.region.closed = FrozenHead(size=head.size, root=head.root)


@attack("checkpoint", reason.BEYOND_CLOSE)
def an_entry_beyond_the_retirement_of_the_logs_key(world: World) -> Report:
    close(world)
    trust = world.region.trust()
    return world.judge(world.region.file(world.region.issue()), trust=trust)


@attack("checkpoint", reason.BEYOND_CLOSE)
def an_early_entry_under_a_tree_signed_after_the_logs_key_was_retired(world: World) -> Report:
    issued = world.region.issue()
    close(world)
    trust = world.region.trust()
    world.region.fill_log(1)
    return world.judge(world.region.file(issued), trust=trust)


@attack("checkpoint", reason.EQUIVOCATION)
def another_tree_of_the_size_at_which_the_log_was_closed(world: World) -> Report:
    region = world.region
    honest = region.issue()
    close(world)
    trust = region.trust()
    return world.judge(forged_receipt(world, honest, len(region.leaves)), trust=trust)


@attack("checkpoint", reason.LOG_BROKEN)
def a_tree_forged_with_the_broken_ed25519_key(world: World) -> Report:
    region = world.region
    honest = region.issue()
    region.ed25519_broken = True
    cosigner, region.cosigner = region.cosigner, None
    file = forged_receipt(world, honest, len(region.leaves))
    region.cosigner = cosigner
    return world.judge(file)


@attack("checkpoint", reason.LOG_BROKEN)
def a_tree_under_a_witnesss_ml_dsa_key_and_the_broken_one(world: World) -> Report:
    region = world.region
    issued = region.issue()
    region.ed25519_broken = True
    key = ML_DSA_44.load_seed(b"\x0a" * 32)
    witness = CosignatureSigner(name="witness.example", key=key, clock=region.clock)
    cosigner, region.cosigner = region.cosigner, None
    bare = region.checkpoint(witnesses=[witness])
    region.cosigner = cosigner
    receipt = dataclasses.replace(region.receipt(issued), checkpoint=bare)
    listed = region.trust_list()
    witnesses = Witnesses(quorum=1, keys=(witness.vkey.to_text(),))
    trust = region.trust(trust_list=dataclasses.replace(listed, witnesses=witnesses))
    return world.judge(region.file(issued, receipt=receipt), trust=trust)


@attack("checkpoint", reason.CHECKPOINT, "NOTE_SIGNATURE")
def a_cosignature_moved_from_another_tree_of_the_broken_log(world: World) -> Report:
    region = world.region
    honest = region.issue()
    size = len(region.leaves)
    region.ed25519_broken = True
    genuine = note.parse(region.checkpoint()).signatures
    cosigner, region.cosigner = region.cosigner, None
    file = forged_receipt(world, honest, size)
    region.cosigner = cosigner
    licence = LicenceFile.parse(file)
    moved = next(line for line in genuine if len(line.signature) > 64)
    return world.judge(
        LicenceFile(
            licence.sd_jwt, licence.opening, note.add_signature(licence.receipt or b"", moved)
        ).to_bytes()
    )


# --- key state: the stolen key ------------------------------------------------


@attack("key-state", reason.KEY_SUSPENDED)
def a_key_that_was_suspended(world: World) -> Report:
    world.region.add_key(world.region.key, state=KeyState.SUSPENDED)
    return world.judge_issued(world.region.issue())


@attack("key-state", reason.KEY_NOT_YET)
def a_licence_dated_before_its_key(world: World) -> Report:
    return world.judge_changed(lambda claims: claims.update(iat=claims["iat"] - 86_400))


@attack("key-state", reason.KEY_AFTER_END)
def a_licence_dated_after_its_key_was_retired(world: World) -> Report:
    region = world.region
    region.add_key(region.key, state=KeyState.RETIRED, not_after=region.since)
    region.clock.advance(days=1)
    return world.judge_issued(region.issue())


@attack("key-state", reason.KEY_RETIRED)
def a_licence_of_a_retired_key_that_may_be_backdated(world: World) -> Report:
    region = world.region
    region.add_key(region.key, state=KeyState.RETIRED, not_after=region.since)
    issued = region.issue()
    region.clock.advance(days=1)
    return world.judge_issued(issued)


@attack("key-state", reason.KEY_COMPROMISED)
def a_stolen_key_without_a_pin(world: World) -> Report:
    world.region.add_key(world.region.key, state=KeyState.COMPROMISED)
    return world.judge_issued(world.region.issue())


def steal(world: World, *, n_safe: int | None = None, **changes: Any) -> Pin:
    """Declare the key stolen: the log's present head is the last that counts."""
    head = world.region.head()
    pin = Pin(
        origin=ORIGIN,
        n_stop=head.size,
        root=head.root,
        n_safe=head.size if n_safe is None else n_safe,
    )
    pin = dataclasses.replace(pin, **changes)
    world.region.add_key(world.region.key, state=KeyState.COMPROMISED, pin=pin)
    return pin


@attack("key-state", reason.PIN_NO_RECEIPT)
def a_stolen_keys_licence_without_a_receipt(world: World) -> Report:
    issued = world.region.issue()
    steal(world)
    return world.judge(issued.sd_jwt)


@attack("key-state", reason.PIN_BEYOND)
def a_licence_made_with_the_stolen_key_afterwards(world: World) -> Report:
    steal(world)
    return world.judge_issued(world.region.issue())


@attack("key-state", reason.PIN_BEYOND)
def a_licence_inserted_through_the_hijacked_service(world: World) -> Report:
    forged = world.region.issue()
    steal(world, n_safe=forged.index)
    return world.judge(world.region.file(forged))


@attack("key-state", reason.PIN_UNLINKED)
def a_receipt_that_nothing_ties_to_the_pinned_tree(world: World) -> Report:
    issued = world.region.issue()
    steal(world)
    return world.judge_issued(issued)


@attack("key-state", reason.PIN_INCONSISTENT)
def a_receipt_of_a_tree_that_forks_below_the_pin(world: World) -> Report:
    issued = world.region.issue()
    pin = steal(world, root=bytes(32))
    assert pin.admits(issued.index)
    # No checkpoint in the pack, so that the pin alone has to notice.
    listed = world.region.trust_list()
    leaves, world.region.leaves = world.region.leaves, []
    trust = world.region.trust(trust_list=listed, tokens=[token_for(world, leaves)])
    world.region.leaves = leaves
    return world.judge(world.region.file(issued), trust=trust)


def forged_receipt(world: World, leaf_of: Issued, size: int) -> bytes:
    """Return the file of a licence under a tree in which it took another entry's place."""
    region = world.region
    honest = region.leaves[leaf_of.index]
    forged = region.issue(logged=False)
    entry = forged.opening.licence_entry(
        forged.sd_jwt.split("~")[0].encode(),
        region.key.public_key.thumbprint,
        str(forged.claims["ZZBS"]),
        STATUS_URI,
        forged.status_index,
    )
    region.leaves[leaf_of.index] = merkle.leaf_hash(entry)
    file = region.file(dataclasses.replace(forged, index=leaf_of.index), size=size)
    region.leaves[leaf_of.index] = honest
    return file


@attack("key-state", reason.PIN_OTHER_ENTRY)
def a_forgery_in_an_honest_entrys_place_in_a_tree_of_the_thiefs(world: World) -> Report:
    # The thief has the log's key as well, and nobody has found out yet.
    region = world.region
    honest = region.issue()
    size = len(region.leaves)
    file = forged_receipt(world, honest, size)
    steal(world)
    return world.judge(file, trust=without_head(world, trees=[(size, ())]))


@attack("key-state", reason.PIN_OTHER_ENTRY)
def a_forgery_in_a_block_that_both_trees_have_filled(world: World) -> Report:
    region = world.region
    honest = region.issue()
    region.fill_log(600)
    size = len(region.leaves)
    file = forged_receipt(world, honest, size)
    steal(world)
    return world.judge(file, trust=without_head(world, trees=[(size, ())]))


def without_head(world: World, **options: Any) -> Any:
    """Return trust without the log's checkpoint, so that the pin alone has to notice."""
    region = world.region
    listed, token, trees = region.trust_list(), region.status_token(), options.pop("trees")
    tiles = [PinnedTree(region.head(n), b, region.tree_bytes(n, b)) for n, b in trees]
    now = int(region.clock.now().timestamp())
    return TrustSet(
        home=region_trust(
            listed,
            hop=region.trust().home.hop,
            freshness=Freshness(issued_at=now, expires=now + 86_400),
            tokens=[token],
            trees=tiles,
        )
    )


def retire(world: World) -> None:
    """Retire the key: the log's present head holds all that it signed."""
    head = world.region.head()
    pin = Pin(origin=ORIGIN, n_stop=head.size, root=head.root, n_safe=head.size)
    world.region.add_key(
        world.region.key, state=KeyState.RETIRED, not_after=world.region.since, pin=pin
    )


@attack("key-state", reason.RETIRED_BEYOND)
def a_backdated_licence_of_a_retired_key_that_was_not_destroyed(world: World) -> Report:
    retire(world)
    return world.judge_issued(world.region.issue())


@attack("key-state", reason.RETIRED_CONTRADICTED)
def a_backdated_licence_in_an_honest_entrys_place(world: World) -> Report:
    region = world.region
    honest = region.issue()
    size = len(region.leaves)
    file = forged_receipt(world, honest, size)
    retire(world)
    return world.judge(file, trust=without_head(world, trees=[(size, ())]))


# --- certificates, scope ------------------------------------------------------


@attack("period", reason.CERTIFICATE_EXPIRED)
def a_certificate_that_has_expired_without_proof_of_existence(world: World) -> Report:
    request = world.region.request(valid_until=None)
    issued = world.region.issue(request=request)
    world.region.clock.advance(days=4 * 365)
    world.region.status_chain = world.region.certify_status(world.region.status_key)
    return world.judge_issued(issued)


@attack("period", reason.CERTIFICATE_EARLY)
def a_licence_dated_before_its_certificate(world: World) -> Report:
    world.region.add_key(world.region.key, not_before=0)
    world.region.scopes = (TypeScope(type=TYPE, not_before=0),)
    return world.judge_changed(lambda claims: claims.update(iat=claims["iat"] - 30 * 86_400))


def revoke_certificate(world: World) -> None:
    region = world.region
    serial = parse_certificate(region.chain[0]).serial_number
    region.hierarchy.licences.revoke(serial, RevocationReason.KEY_COMPROMISE)
    region.crls = [region.hierarchy.licences.sign_crl(lifetime=timedelta(days=7))]


@attack("revocation", reason.CERTIFICATE_REVOKED)
def a_licence_dated_after_its_certificate_was_revoked(world: World) -> Report:
    revoke_certificate(world)
    world.region.clock.advance(hours=1)
    return world.judge_issued(world.region.issue())


@attack("revocation", reason.CERTIFICATE_REVOKED_NO_POE)
def a_licence_that_may_be_backdated_before_the_revocation(world: World) -> Report:
    issued = world.region.issue()
    world.region.clock.advance(hours=1)
    revoke_certificate(world)
    return world.judge_issued(issued)


@attack("revocation", reason.REVOCATION_UNKNOWN)
def a_revocation_list_that_was_withheld(world: World) -> Report:
    policy = dataclasses.replace(OFFLINE, require_revocation=True)
    return world.judge_issued(world.region.issue(), policy=policy)


@attack("scope", reason.TYPE_NOT_IN_SCOPE)
def an_authority_that_issues_what_it_may_not(world: World) -> Report:
    request = world.region.request(type=OTHER_TYPE)
    return world.judge_issued(world.region.issue(request=request))


@attack("scope", reason.SCOPE_NOT_THEN)
def an_authority_that_issues_before_its_scope_begins(world: World) -> Report:
    later = world.region.since + 86_400
    world.region.scopes = (TypeScope(type=TYPE, not_before=later),)
    return world.judge_issued(world.region.issue())


@attack("scope", reason.SCOPE_ENDED)
def an_authority_that_backdates_into_its_ended_scope(world: World) -> Report:
    region = world.region
    region.scopes = (TypeScope(type=TYPE, not_before=region.since, not_after=region.since + 60),)
    issued = region.issue()
    region.clock.advance(days=1)
    return world.judge_issued(issued)


# --- validity, status ---------------------------------------------------------


@attack("validity", reason.EXPIRED)
def a_licence_presented_after_its_last_day(world: World) -> Report:
    request = world.region.request(valid_until=date(2026, 1, 1))
    issued = world.region.issue(request=request)
    # The last day ends at UTC+8, which is 16:00 UTC.
    world.region.clock.advance(hours=16)
    return world.judge_issued(issued)


@attack("validity", reason.NOT_YET_VALID)
def a_licence_presented_before_its_first_day(world: World) -> Report:
    request = world.region.request(valid_from=date(2026, 1, 2))
    return world.judge_issued(world.region.issue(request=request))


def with_status(world: World, value: int) -> Report:
    issued = world.region.issue()
    world.region.values[issued.status_index] = value
    return world.judge_issued(issued)


@attack("status", reason.REVOKED)
def a_revoked_licence(world: World) -> Report:
    return with_status(world, 1)


@attack("status", reason.SUSPENDED)
def a_suspended_licence(world: World) -> Report:
    return with_status(world, 2)


@attack("status", reason.FROZEN)
def a_licence_reported_lost(world: World) -> Report:
    return with_status(world, 3)


@attack("status", reason.STATUS_UNAVAILABLE)
def a_status_list_that_was_left_out_of_the_pack(world: World) -> Report:
    issued = world.region.issue()
    return world.judge(world.region.file(issued), trust=world.region.trust(tokens=[]))


@attack("status", reason.STATUS_UNAVAILABLE)
def a_status_list_that_could_not_be_fetched(world: World) -> Report:
    return world.judge_issued(world.region.issue(), fetched={STATUS_URI: None})


@attack("status", reason.STATUS_UNAVAILABLE, "STATUS_REFUSED")
def a_status_list_signed_by_a_stranger(world: World) -> Report:
    issued = world.region.issue()
    stranger = ES256.load_deterministic(668)
    token = world.region.status_token(key=stranger, chain=world.region.certify_status(stranger))
    return world.judge(world.region.file(issued), trust=world.region.trust(tokens=[token]))


@attack("status", reason.STATUS_UNAVAILABLE, "STATUS_URI")
def a_fetched_list_that_is_another_list(world: World) -> Report:
    issued = world.region.issue()
    token = world.region.status_token(uri=STATUS_URI + "0")
    return world.judge_issued(issued, fetched={STATUS_URI: token})


@attack("status", reason.STATUS_UNAVAILABLE, "STATUS_KEY")
def a_status_list_signed_with_a_licence_key(world: World) -> Report:
    issued = world.region.issue()
    token = world.region.status_token(key=world.region.key, chain=world.region.chain)
    return world.judge_issued(issued, fetched={STATUS_URI: token})


@attack("status", reason.STATUS_OLDER)
def a_list_made_before_the_licence_was_logged(world: World) -> Report:
    token = world.region.status_token()
    issued = world.region.issue()
    return world.judge(world.region.file(issued), trust=world.region.trust(tokens=[token]))


@attack("status", reason.STATUS_STALE)
def a_list_older_than_the_policy_allows(world: World) -> Report:
    issued = world.region.issue()
    file, trust = world.region.file(issued), world.region.trust()
    return world.judge(file, trust=trust, now=timedelta(days=8))


@attack("status", reason.STATUS_STALE)
def an_expired_list_online(world: World) -> Report:
    issued = world.region.issue()
    file, trust = world.region.file(issued), world.region.trust()
    return world.judge(file, trust=trust, policy=ONLINE, now=timedelta(days=1))


@attack("status", reason.STATUS_NOT_THEN)
def a_moment_that_no_list_speaks_for(world: World) -> Report:
    region = world.region
    issued = region.issue()
    then = region.clock.now()
    region.clock.advance(days=1)
    return world.judge_issued(issued, at=then)


@attack("status", reason.STATUS_INDEX)
def a_status_index_outside_its_list(world: World) -> Report:
    def outside(claims: dict[str, Any]) -> None:
        claims["status"] = {"status_list": {"idx": 1 << 20, "uri": STATUS_URI}}

    issued = world.region.issue(change=outside, logged=False)
    return world.judge(issued.sd_jwt, policy=BARE)


@attack("status", reason.STATUS_UNKNOWN)
def a_status_that_this_verifier_does_not_know(world: World) -> Report:
    issued = world.region.issue()
    wide = StatusList.from_values([7] * 64, bits=4)
    token = world.region.status_token(list=wide)
    return world.judge(world.region.file(issued), trust=world.region.trust(tokens=[token]))


# --- holder, purpose ----------------------------------------------------------


def bound(world: World, *, key: Any = HOLDER, nonce: str = "n-1", audience: str = "") -> str:
    """Return a presentation bound to the holder's key."""
    issued = world.region.issue(request=world.region.request(holder_key=HOLDER_JWK))
    return bind(
        sdjwt.parse(issued.sd_jwt),
        signer=key,
        audience=audience or "https://bank.example",
        nonce=nonce,
        issued_at=world.region.clock.now(),
    )


@attack("holder-binding", reason.BINDING_MISSING)
def a_copy_of_somebody_elses_licence(world: World) -> Report:
    issued = world.region.issue(request=world.region.request(holder_key=HOLDER_JWK))
    return world.judge_issued(issued, request=ASKED)


@attack("holder-binding", reason.BINDING, "KEY_BINDING_NONCE")
def a_presentation_that_is_replayed(world: World) -> Report:
    return world.judge(bound(world, nonce="n-0"), policy=BARE, request=ASKED)


@attack("holder-binding", reason.BINDING, "KEY_BINDING_AUDIENCE")
def a_presentation_meant_for_another_verifier(world: World) -> Report:
    return world.judge(bound(world, audience="https://shop.example"), policy=BARE, request=ASKED)


@attack("holder-binding", reason.BINDING, "SIGNATURE")
def a_presentation_bound_to_the_thiefs_key(world: World) -> Report:
    thief = ES256.load_deterministic(669)
    return world.judge(bound(world, key=thief), policy=BARE, request=ASKED)


@attack("holder-binding", reason.BINDING, "KEY_BINDING_AGE")
def a_presentation_that_has_waited_too_long(world: World) -> Report:
    presented = bound(world)
    return world.judge(presented, policy=BARE, request=ASKED, now=timedelta(minutes=6))


@attack("holder-binding", reason.BINDING, "KEY_BINDING_HASH")
def a_binding_moved_under_other_disclosures(world: World) -> Report:
    token, *disclosures, binding = bound(world).split("~")
    return world.judge("~".join([token, *disclosures[1:], binding]), policy=BARE, request=ASKED)


@attack("holder-binding", reason.HOLDER_KEY_ABSENT)
def a_licence_without_holder_key_where_one_is_demanded(world: World) -> Report:
    policy = dataclasses.replace(OFFLINE, binding=BindingRule.REQUIRED)
    return world.judge_issued(world.region.issue(), policy=policy, request=ASKED)


@attack("purpose", reason.PURPOSE)
def a_purpose_that_the_policy_does_not_serve(world: World) -> Report:
    policy = dataclasses.replace(OFFLINE, purposes=frozenset({"开办食品经营"}))
    return world.judge_issued(world.region.issue(), policy=policy, request=ASKED)


@attack("purpose", reason.PURPOSE_MISSING)
def a_question_without_a_purpose(world: World) -> Report:
    policy = dataclasses.replace(OFFLINE, purposes=frozenset({"开办食品经营"}))
    return world.judge_issued(world.region.issue(), policy=policy)


@attack("purpose", reason.PURPOSE, "PURPOSE_LENGTH")
def a_purpose_beyond_two_hundred_characters(world: World) -> Report:
    return world.judge_issued(world.region.issue(), request=Request(purpose="事" * 201))


# --- what the attacks are made with -------------------------------------------


def disclosure(array: list[Any]) -> str:
    return b64url_encode(json.dumps(array, ensure_ascii=False).encode())


def altered(shown: Disclosure) -> str:
    array = [shown.salt, shown.value] if shown.name is None else [shown.salt, shown.name, "改"]
    return disclosure(array)


def sign_raw(world: World, change: Callable[[dict[str, Any]], None]) -> str:
    """Sign a payload that the issuing code would refuse."""
    payload = dict(sdjwt.parse(world.region.issue().sd_jwt).payload)
    change(payload)
    token = sign_compact(
        world.region.key,
        typ=sdjwt.TYP,
        header={"x5c": encode_x5c(tuple(world.region.chain))},
        payload=json.dumps(payload).encode(),
    )
    return token + "~"


def plant(world: World, array: list[Any]) -> str:
    """Return a token in which a digest of ``array`` is signed, and ``array`` shown."""
    shown = disclosure(array)
    digest = b64url_encode(sha256(shown.encode()).digest())
    return sign_raw(world, lambda payload: payload.update(_sd=[digest])) + shown + "~"


def rewrite_header(presentation: str, change: Callable[[dict[str, Any]], None]) -> str:
    header, rest = presentation.split(".", 1)
    members = json.loads(b64url_decode(header))
    change(members)
    return b64url_encode(json.dumps(members).encode()) + "." + rest


def token_for(world: World, leaves: list[bytes]) -> str:
    """Return a status token that reflects ``leaves``."""
    return world.region.status_token(log_size=len(leaves))


# --- the tests ----------------------------------------------------------------


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_fails_with_its_steps_own_reason(name: str) -> None:
    step, finding, detail, run = ATTACKS[name]
    report = run(World())
    assert (report.code, report.sub_indication) == (finding.code, finding.sub_indication)
    assert report.reason == (detail or finding.code)
    failed = finding.outcome is Outcome.FAILED
    expected = Indication.TOTAL_FAILED if failed else Indication.INDETERMINATE
    assert report.indication is expected
    (check,) = (check for check in report.checks if check.name == step)
    assert (check.outcome, check.reason) == (finding.outcome, report.reason)


def test_every_step_has_an_attack() -> None:
    assert {step.name for step in STEPS} == {step for step, *_ in ATTACKS.values()}


def test_every_finding_of_every_step_has_an_attack() -> None:
    tried = {(step, finding.code) for step, finding, *_ in ATTACKS.values()}
    possible = {
        (step.name, finding.code)
        for step in STEPS
        for finding in step.findings
        if finding.outcome is not Outcome.NOT_APPLICABLE
    }
    assert possible == tried
