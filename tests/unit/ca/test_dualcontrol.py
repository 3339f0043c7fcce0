"""The signer's own judgement: two persons, in time, once, and for exactly this."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from support import hierarchy
from support.clock import FixedClock, SeededEntropy
from support.trust_list import trust_list, vkey
from yinxin_ca.dualcontrol import DualControl, TrustSigner, officer_outcome
from yinxin_ca.officer import FileOfficerRegister, InMemoryOfficerRegister, Officer, OfficerRegister
from yinxin_ca.profile import TLS_CA
from yinxin_ca.subject import Subject
from yinxin_proto.certificate import parse
from yinxin_proto.error import (
    AlreadyExistsError,
    FailedPreconditionError,
    IntegrityError,
    InvalidArgumentError,
    PermissionDeniedError,
    VerificationError,
)
from yinxin_proto.keyrecord import KeyState
from yinxin_proto.operation import (
    Action,
    OfficerSignature,
    Operation,
    SignedOperation,
    new_operation,
    sign_operation,
)
from yinxin_proto.strict import b64url_encode, canonical_json
from yinxin_proto.suite import ES256
from yinxin_proto.trustchange import parameters_of, trust_breaks
from yinxin_proto.trustlist import TrustList
from yinxin_proto.vkey import SignatureType

REGION = "350300"
KEYS = {name: ES256.load_deterministic(0x100 + place) for place, name in enumerate("abcd", 1)}
MAC = bytes(range(32))
CLOSED_LOG = 2


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture(params=["memory", "file"])
def register(request: pytest.FixtureRequest, tmp_path: Path) -> OfficerRegister:
    if request.param == "memory":
        return InMemoryOfficerRegister()
    return FileOfficerRegister(tmp_path / "officers", key=MAC, entropy=SeededEntropy(1), new=True)


@pytest.fixture
def control(register: OfficerRegister, clock: FixedClock) -> DualControl:
    made = DualControl(register=register, clock=clock, region=REGION)
    for name in "ab":
        made.add_officer(person(name))
    return made


def person(name: str, key: str | None = None) -> Officer:
    return Officer(id=name, name="虚构", public_key=KEYS[key or name].public_key)


def test_nobody_takes_office_with_a_key_that_everybody_knows(
    register: OfficerRegister, clock: FixedClock
) -> None:
    control = DualControl(register=register, clock=clock, region=REGION)
    known = ES256.load_deterministic(1).public_key
    with pytest.raises(InvalidArgumentError) as refused:
        control.add_officer(Officer(id="a", name="虚构", public_key=known))
    assert refused.value.reason == "KEY_WEAK"
    assert not register.officers()


def operation(
    clock: FixedClock, action: Action = Action.RESUME_KEY, target: str = "t"
) -> Operation:
    return new_operation(
        action,
        target,
        parameters_of({}),
        region=REGION,
        clock=clock,
        entropy=SeededEntropy(clock.now().isoformat()),
    )


def signed(wanted: Operation, *names: str, keys: str | None = None) -> SignedOperation:
    pairs = zip(names, keys or names, strict=True)
    return SignedOperation(
        operation=wanted,
        signatures=tuple(
            OfficerSignature.parse(sign_operation(wanted, officer=name, signer=KEYS[key]))
            for name, key in pairs
        ),
    )


def test_two_officers_suffice(control: DualControl, clock: FixedClock) -> None:
    wanted = operation(clock)
    assert control.check(signed(wanted, "a", "b")) == wanted


@pytest.mark.parametrize(
    ("names", "keys", "reason"),
    [
        ("a", "a", "OPERATION_PERSONS"),
        ("", "", "OPERATION_PERSONS"),
        ("aa", "aa", "OFFICER_TWICE"),
        # The service holds a key of nobody's, or one officer's under two names.
        ("ac", "ac", "OFFICER_UNKNOWN"),
        ("ab", "aa", "SIGNATURE"),
        ("ab", "cd", "SIGNATURE"),
    ],
)
def test_each_way_to_be_one_person_is_refused(
    control: DualControl, clock: FixedClock, names: str, keys: str, reason: str
) -> None:
    with pytest.raises((PermissionDeniedError, VerificationError)) as refused:
        control.check(signed(operation(clock), *names, keys=keys))
    assert refused.value.reason == reason


def test_a_person_has_one_key_and_a_key_one_person(control: DualControl) -> None:
    for other in (person("a", "c"), person("e", "a")):
        with pytest.raises(AlreadyExistsError) as refused:
            control.register.add(other, 0)
        assert refused.value.reason == "OFFICER_EXISTS"


def test_from_the_third_on_officers_decide_about_officers(
    control: DualControl, clock: FixedClock
) -> None:
    with pytest.raises(PermissionDeniedError) as refused:
        control.add_officer(person("c"))
    assert refused.value.reason == "OPERATION_MISSING"
    wanted = replace(
        operation(clock, Action.ADD_OFFICER, "c"),
        parameters=parameters_of(officer_outcome(KEYS["c"].public_key)),
    )
    # Signed for this key, and not for another under the same name.
    with pytest.raises(PermissionDeniedError) as other:
        control.add_officer(person("c", "d"), signed(wanted, "a", "b"))
    assert other.value.reason == "OPERATION_TARGET"
    control.add_officer(person("c"), signed(wanted, "a", "b"))
    assert set(control.register.officers()) == {"a", "b", "c"}

    clock.advance(seconds=1)
    leave = operation(clock, Action.REMOVE_OFFICER, "a")
    control.remove_officer("a", signed(leave, "b", "c"))
    clock.advance(seconds=1)
    with pytest.raises(FailedPreconditionError) as few:
        control.remove_officer("b", signed(operation(clock), "b", "c"))
    assert few.value.reason == "OFFICERS_FEW"
    with pytest.raises(PermissionDeniedError) as gone:
        control.check(signed(operation(clock), "a", "b"))
    assert gone.value.reason == "OFFICER_UNKNOWN"


def test_a_clock_that_jumped_back_signs_nothing(control: DualControl, clock: FixedClock) -> None:
    clock.advance(minutes=-6)
    with pytest.raises(FailedPreconditionError) as refused:
        control.check(signed(operation(clock), "a", "b"))
    assert refused.value.reason == "CLOCK_BACK"


def test_another_region_s_operation_is_refused(control: DualControl, clock: FixedClock) -> None:
    wanted = replace(operation(clock), region="350500")
    with pytest.raises(VerificationError) as refused:
        control.check(signed(wanted, "a", "b"))
    assert refused.value.reason == "OPERATION_REGION"


# --- trust lists ------------------------------------------------------------------------


def _suspended(listed: TrustList) -> TrustList:
    authority = listed.authorities[0]
    key = next(one for one in authority.keys if one.state is KeyState.ACTIVE)
    keys = tuple(
        replace(one, state=KeyState.SUSPENDED) if one is key else one for one in authority.keys
    )
    return replace(listed, authorities=(replace(authority, keys=keys), *listed.authorities[1:]))


@pytest.fixture
def judge(control: DualControl) -> TrustSigner:
    """Has signed the list that tests begin with."""
    made = TrustSigner(signer=KEYS["d"], control=control)
    made.first(trust_list().to_bytes())
    return made


def _metadata(data: bytes) -> bytes:
    digest = sha256(data).hexdigest()
    targets = {"trust.json": {"hashes": {"sha256": digest}, "length": len(data)}}
    return json.dumps({"_type": "targets", "targets": targets}).encode()


def test_it_signs_the_list_that_it_judged_and_no_other(judge: TrustSigner) -> None:
    old = trust_list().to_bytes()
    signer = judge.release(old, published=old)
    signer.public_key.verify(signer.sign(_metadata(old)), _metadata(old))
    for other in (
        _metadata(_suspended(trust_list()).to_bytes()),
        b'{"_type":"root"}',
        b'{"_type":"targets","targets":{}}',
        _metadata(old).replace(b'"targets"', b'"snapshot"', 1),
        b"anything",
    ):
        with pytest.raises(PermissionDeniedError) as refused:
            signer.sign(other)
        assert refused.value.reason == "TRUST_LIST"


def test_what_breaks_trust_needs_officers_and_what_they_decided_stays(
    judge: TrustSigner, clock: FixedClock
) -> None:
    old = trust_list()
    new = _suspended(old)
    (change,) = trust_breaks(old, new)
    with pytest.raises(PermissionDeniedError) as refused:
        judge.release(new.to_bytes(), published=old.to_bytes())
    assert refused.value.reason == "OPERATION_MISSING"
    wanted = operation(clock, change.action, change.target)
    judge.release(new.to_bytes(), published=old.to_bytes(), operations=[signed(wanted, "a")])
    # It was signed, and a crash kept it from being published: the old state is not signed again.
    with pytest.raises(PermissionDeniedError) as back:
        judge.release(old.to_bytes(), published=old.to_bytes())
    assert back.value.reason == "OPERATION_MISSING"
    # The same again goes through, with the operation that was carried out or without.
    judge.release(new.to_bytes(), published=old.to_bytes(), operations=[signed(wanted, "a")])
    judge.release(new.to_bytes(), published=new.to_bytes())
    # Published, the old one is no starting point any more.
    with pytest.raises(VerificationError) as stale:
        judge.release(new.to_bytes(), published=old.to_bytes())
    assert stale.value.reason == "TRUST_LIST_OLD"


def test_an_operation_is_carried_out_once(judge: TrustSigner, clock: FixedClock) -> None:
    old = trust_list()
    new = _suspended(old)
    (change,) = trust_breaks(old, new)
    wanted = operation(clock, change.action, change.target)
    judge.release(new.to_bytes(), published=old.to_bytes(), operations=[signed(wanted, "a")])
    resume = trust_breaks(new, old)[0]
    clock.advance(seconds=1)
    again = operation(clock, resume.action, resume.target)
    judge.release(old.to_bytes(), published=new.to_bytes(), operations=[signed(again, "a", "b")])
    with pytest.raises(PermissionDeniedError) as refused:
        judge.release(new.to_bytes(), published=old.to_bytes(), operations=[signed(wanted, "a")])
    assert refused.value.reason == "NONCE_USED"


Edit = Callable[[dict[str, Any]], object]
ACTIVE_KEY = 0
"""Place of the active key among the first authority's."""


def edited(listed: TrustList, edit: Edit) -> TrustList:
    value = json.loads(listed.to_bytes())
    edit(value)
    return TrustList.parse(canonical_json(value))


def _key(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = value["authorities"][0]["keys"][ACTIVE_KEY]
    return found


def _witnessed(value: dict[str, Any], quorum: int) -> None:
    cosigner = vkey("witness.example", 77, SignatureType.ED25519_COSIGNATURE)
    value["witnesses"] = {"quorum": quorum, "keys": [cosigner] if quorum else []}


ENDS = 1_800_000_000


@pytest.mark.parametrize(
    ("before", "after", "action"),
    [
        # Not the key alone: what one officer signs changes nothing else of it.
        (
            lambda _: None,
            lambda v: _key(v).update(state="suspended", not_before=0),
            Action.CHANGE_TRUST,
        ),
        (
            lambda v: _key(v).update(state="suspended"),
            lambda v: _key(v).update(state="active", not_after=ENDS),
            Action.CHANGE_TRUST,
        ),
        (
            lambda v: _key(v).update(not_after=ENDS),
            lambda v: _key(v).update(not_after=None),
            Action.CHANGE_TRUST,
        ),
        (
            lambda v: _key(v).update(not_after=ENDS),
            lambda v: _key(v).update(not_after=ENDS + 1),
            Action.CHANGE_TRUST,
        ),
        (
            lambda _: None,
            lambda v: v["authorities"][0].update(types=[]),
            Action.CHANGE_TRUST,
        ),
        (lambda v: _witnessed(v, 1), lambda v: _witnessed(v, 0), Action.CHANGE_TRUST),
        (lambda _: None, lambda v: _key(v).update(state="suspended"), Action.SUSPEND_KEY),
        (
            lambda v: _key(v).update(state="suspended"),
            lambda v: _key(v).update(state="active"),
            Action.RESUME_KEY,
        ),
        (lambda _: None, lambda v: _key(v).update(state="retired", not_after=ENDS), None),
        (lambda v: _witnessed(v, 0), lambda v: _witnessed(v, 1), Action.CHANGE_TRUST),
        (
            lambda _: None,
            lambda v: v["authorities"][0]["types"][1].update(not_after=ENDS),
            Action.CHANGE_TRUST,
        ),
    ],
)
def test_what_each_change_of_trust_takes(before: Edit, after: Edit, action: Action | None) -> None:
    old = edited(trust_list(), before)
    found = trust_breaks(old, edited(old, after))
    assert [change.action for change in found] == ([] if action is None else [action])


def test_two_officers_sign_what_a_key_becomes_and_not_only_that_it_changes(
    judge: TrustSigner, clock: FixedClock
) -> None:
    old = edited(trust_list(), lambda v: _key(v).update(not_after=ENDS))
    judge.release(old.to_bytes(), published=trust_list().to_bytes())
    agreed = edited(old, lambda v: _key(v).update(not_after=ENDS + 1))
    other = edited(old, lambda v: _key(v).update(not_after=None))
    (change,) = trust_breaks(old, agreed)
    wanted = replace(operation(clock, change.action, change.target), parameters=change.parameters)
    with pytest.raises(PermissionDeniedError) as refused:
        judge.release(
            other.to_bytes(), published=old.to_bytes(), operations=[signed(wanted, "a", "b")]
        )
    assert refused.value.reason == "OPERATION_TARGET"
    judge.release(
        agreed.to_bytes(), published=old.to_bytes(), operations=[signed(wanted, "a", "b")]
    )


def _stolen(value: dict[str, Any]) -> None:
    _key(value).update(state="compromised", not_after=ENDS)


def _broken(value: dict[str, Any]) -> None:
    value["logs"][CLOSED_LOG].update(ed25519_broken=True)


def _frozen(value: dict[str, Any]) -> None:
    log = value["logs"][CLOSED_LOG]
    log.update(closed_at=None, frozen_at=log["closed_at"])


def _withdrawn(value: dict[str, Any]) -> None:
    value["anchors"]["tls"].pop()


def _rooted(value: dict[str, Any]) -> None:
    value["anchors"]["root"] = "MAAB"


@pytest.mark.parametrize("decision", [_stolen, _broken, _frozen, _withdrawn, _rooted])
def test_what_two_decided_stands_although_a_crash_kept_it_from_being_published(
    judge: TrustSigner, clock: FixedClock, decision: Edit
) -> None:
    old = trust_list()
    new = edited(old, decision)
    (change,) = trust_breaks(old, new)
    wanted = replace(operation(clock, change.action, change.target), parameters=change.parameters)
    both = signed(wanted, "a", "b")
    judge.release(new.to_bytes(), published=old.to_bytes(), operations=[both])

    clock.advance(seconds=1)
    # The service proposes what was before, or has one officer suspend what two gave up.
    with pytest.raises(PermissionDeniedError) as dropped:
        judge.release(old.to_bytes(), published=old.to_bytes())
    assert dropped.value.reason == "OPERATION_MISSING"
    suspended = edited(old, lambda v: _key(v).update(state="suspended"))
    (alone,) = trust_breaks(old, suspended)
    with pytest.raises(PermissionDeniedError):
        judge.release(
            suspended.to_bytes(),
            published=old.to_bytes(),
            operations=[signed(operation(clock, alone.action, alone.target), "a")],
        )
    # What was decided goes through, with its file, without it, or signed once more.
    again = replace(operation(clock, change.action, change.target), parameters=change.parameters)
    for operations in ([both], [], [signed(again, "a", "b")]):
        judge.release(new.to_bytes(), published=old.to_bytes(), operations=operations)


def test_a_withdrawn_authority_does_not_come_back_under_another_certificate(
    judge: TrustSigner, clock: FixedClock
) -> None:
    """Two gave up its key; whoever certifies that key once more changes nothing of it."""
    made = hierarchy.Hierarchy()
    first = made.tls.certificate
    known = parse(first)
    again = made.root.issue(
        TLS_CA,
        subject=Subject(
            organisation=hierarchy.ORGANISATION, common_name=f"{hierarchy.REGION} tls-ca 1"
        ),
        public_key=ES256.load_public(known.spki),
    )
    assert (parse(again).subject, again == first) == (known.subject, False)

    def listing(*ders: bytes) -> TrustList:
        return edited(
            trust_list(), lambda v: v["anchors"].update(tls=[b64url_encode(one) for one in ders])
        )

    begun, without, with_other = listing(first), listing(), listing(again)
    judge.release(
        begun.to_bytes(),
        published=trust_list().to_bytes(),
        operations=_covered(clock, trust_list(), begun),
    )
    # Certified anew it is the same.
    assert trust_breaks(begun, with_other) == ()
    judge.release(
        without.to_bytes(), published=begun.to_bytes(), operations=_covered(clock, begun, without)
    )
    with pytest.raises(PermissionDeniedError) as refused:
        judge.release(with_other.to_bytes(), published=begun.to_bytes())
    assert refused.value.reason == "OPERATION_MISSING"

    # Nor a year later, when no list that is at hand has it any more.
    for _ in range(2):
        judge.release(without.to_bytes(), published=without.to_bytes())
    for back in (begun, with_other):
        with pytest.raises(PermissionDeniedError) as later:
            judge.release(back.to_bytes(), published=without.to_bytes())
        assert later.value.reason == "OPERATION_MISSING"


def _covered(clock: FixedClock, old: TrustList, new: TrustList) -> list[SignedOperation]:
    clock.advance(seconds=1)
    return [
        signed(
            replace(operation(clock, change.action, change.target), parameters=change.parameters),
            "a",
            "b",
        )
        for change in trust_breaks(old, new)
    ]


# --- the file ---------------------------------------------------------------------------


def _filled(folder: Path) -> FileOfficerRegister:
    register = FileOfficerRegister(folder, key=MAC, entropy=SeededEntropy(2), new=True)
    clock = FixedClock()
    control = DualControl(register=register, clock=clock, region=REGION)
    for name in "ab":
        control.add_officer(person(name))
    TrustSigner(signer=KEYS["d"], control=control).first(trust_list().to_bytes())
    return register


def test_the_register_is_what_it_was_after_a_restart(tmp_path: Path) -> None:
    _filled(tmp_path / "officers")
    again = FileOfficerRegister(tmp_path / "officers", key=MAC, entropy=SeededEntropy(3))
    assert set(again.officers()) == {"a", "b"}
    assert again.last_list() == trust_list().to_bytes()


def _alter(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'\\"a\\"', b'\\"x\\"'), *lines[1:]]


@pytest.mark.parametrize(
    "attack",
    [
        _alter,
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [*lines, lines[0]],
        lambda lines: [*lines, b"{}\n"],
        lambda lines: [*lines[:2], lines[2][:-9]],
        lambda _: [],
    ],
    ids=["alter", "drop-first", "drop-middle", "swap", "repeat", "add", "cut", "empty"],
)
def test_a_register_that_was_touched_is_refused(
    tmp_path: Path, attack: Callable[[list[bytes]], list[bytes]]
) -> None:
    _filled(tmp_path / "officers")
    path = tmp_path / "officers" / "register.jsonl"
    path.write_bytes(b"".join(attack(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(IntegrityError) as refused:
        FileOfficerRegister(tmp_path / "officers", key=MAC, entropy=SeededEntropy(3))
    assert refused.value.reason == "OFFICER_REGISTER"


def test_a_register_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    """Whoever could delete it would have himself appointed, and every nonce unused."""
    _filled(tmp_path / "officers")
    (tmp_path / "officers" / "register.jsonl").unlink()
    with pytest.raises(IntegrityError) as refused:
        FileOfficerRegister(tmp_path / "officers", key=MAC, entropy=SeededEntropy(3))
    assert refused.value.reason == "OFFICER_REGISTER"


def test_a_register_cut_back_to_before_the_last_list_judges_nothing(tmp_path: Path) -> None:
    register = _filled(tmp_path / "officers")
    path = tmp_path / "officers" / "register.jsonl"
    whole = path.read_bytes()
    listed = edited(trust_list(), lambda v: v.update(issued_at=v["issued_at"] + 1)).to_bytes()
    control = DualControl(register=register, clock=FixedClock(), region=REGION)
    judge = TrustSigner(signer=KEYS["d"], control=control)
    judge.release(listed, published=trust_list().to_bytes())
    path.write_bytes(whole)

    again = FileOfficerRegister(tmp_path / "officers", key=MAC, entropy=SeededEntropy(3))
    control = DualControl(register=again, clock=FixedClock(), region=REGION)
    judge = TrustSigner(signer=KEYS["d"], control=control)
    for attempt in (
        lambda: judge.release(listed, published=listed),
        lambda: control.require_current(listed),
    ):
        with pytest.raises(VerificationError) as refused:
            attempt()
        assert refused.value.reason == "TRUST_LIST_OLD"


def test_a_region_is_founded_once(judge: TrustSigner) -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        judge.first(trust_list().to_bytes())
    assert refused.value.reason == "FOUNDED"


def test_a_register_under_another_key_is_refused(tmp_path: Path) -> None:
    _filled(tmp_path / "officers")
    with pytest.raises(IntegrityError):
        FileOfficerRegister(tmp_path / "officers", key=bytes(32), entropy=SeededEntropy(3))
