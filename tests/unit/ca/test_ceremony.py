"""The offline store under k of n custodians: opened by enough of them, and by nothing else."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import FixedClock, SeededEntropy
from yinxin_ca.ceremony import Ceremony
from yinxin_ca.ceremonyrecord import (
    CONFIRMED,
    DEALT,
    OPENED,
    REFUSED,
    RESEALED,
    CeremonyRecord,
)
from yinxin_ca.ceremonyscript import CustodianTable, Script
from yinxin_ca.custodian import Custodian
from yinxin_ca.keyfile import create_key_store, open_key_store
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.masterkey import MASTER_FILE
from yinxin_ca.share import SUFFIX, Deal, Share, combine_shares, open_share, read_share
from yinxin_proto.error import (
    ConfigurationError,
    FailedPreconditionError,
    IntegrityError,
    KeyStoreError,
    MalformedError,
    WrongPassphraseError,
    YinxinError,
)
from yinxin_proto.strict import b64url_decode, b64url_encode, canonical_json
from yinxin_proto.suite import ES256

OLD = "the passphrase before"
ROOT = KeyRef("350399", Purpose.ROOT)
NAMES = {"jia": "甲（示例）", "yi": "乙（示例）", "bing": "丙（示例）", "ding": "丁（示例）"}


class Stage:
    """A region's offline store and four custodians with a folder each."""

    _seed = itertools.count()
    """One for all, so that no two stages have the same secrets."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FixedClock()
        self.store = root / "offline"
        self.asked: list[str] = []

    def set_up(self) -> Stage:
        store = create_key_store(
            self.store, passphrase=OLD, clock=self.clock, entropy=self.entropy()
        )
        store.generate(ROOT, ES256)
        for name, title in NAMES.items():
            self.custodian(name, title)
        return self

    def entropy(self) -> SeededEntropy:
        return SeededEntropy(next(self._seed))

    def custodian(self, name: str, title: str) -> None:
        Custodian.create(
            self.root / name,
            id=name,
            name=title,
            passphrase=f"passphrase of {name}",
            clock=self.clock,
            entropy=self.entropy(),
        )

    def script(
        self,
        operation: str,
        names: str,
        *,
        file: str | None = None,
        threshold: int = 2,
        lifetime: str = "730d",
        holders: str = "",
    ) -> Script:
        file = file or operation
        lines = [
            "[ceremony]",
            f'operation = "{operation}"',
            'region = "350399"',
            'purpose = "演练"',
            f'record = "{file}.record"',
            f"threshold = {threshold}",
            f'lifetime = "{lifetime}"',
            'witnesses = ["见证人（示例）"]',
        ]
        for kind, group in (("custodian", names), ("holder", holders)):
            for name in group.split():
                lines += [f"[[{kind}]]", f'id = "{name}"', f'name = "{NAMES[name]}"']
                lines.append(f'folder = "{name}"')
        path = self.root / f"{file}.toml"
        path.write_text("\n".join(lines))
        return Script.load(path)

    def ask(self, person: CustodianTable) -> str:
        self.asked.append(person.id)
        return f"passphrase of {person.id}"

    def begin(self, script: Script, clock: FixedClock | None = None) -> Ceremony:
        return Ceremony.begin(
            script, clock=clock or self.clock, entropy=self.entropy(), ask=self.ask
        )

    def share(self, *, lifetime: str = "730d") -> None:
        script = self.script("share", "jia yi bing", lifetime=lifetime)
        self.begin(script).share(self.store, passphrase=OLD)

    def open(self, names: str, file: str = "open") -> str:
        return self.begin(self.script("open", names, file=file)).open(self.store)

    def opens(self, passphrase: str) -> bool:
        try:
            store = open_key_store(
                self.store, passphrase=passphrase, clock=self.clock, entropy=self.entropy()
            )
        except WrongPassphraseError:
            return False
        return store.signer(ROOT).public_key.suite is ES256

    def record(self, name: str) -> CeremonyRecord:
        return CeremonyRecord(self.root / f"{name}.record", clock=self.clock)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store under a passphrase, and custodians without shares."""
    return Stage(tmp_path_factory.mktemp("pristine")).set_up().root


@pytest.fixture(scope="module")
def shared(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a ceremony: two of jia, yi and bing open the store."""
    copied = Stage(Path(shutil.copytree(pristine, tmp_path_factory.mktemp("shared") / "stage")))
    copied.share()
    return copied.root


@pytest.fixture
def stage(pristine: Path, tmp_path: Path) -> Stage:
    """A copy of the first."""
    return Stage(Path(shutil.copytree(pristine, tmp_path / "stage")))


@pytest.fixture
def dealt(shared: Path, tmp_path: Path) -> Stage:
    """A copy of the second."""
    return Stage(Path(shutil.copytree(shared, tmp_path / "dealt")))


def _refused(record: CeremonyRecord) -> list[tuple[str, str | None]]:
    return [(step.members["reason"], step.members["custodian"]) for step in record.find(REFUSED)]


# --- dealing and opening -----------------------------------------------------------------


def test_any_two_of_three_open_the_store_and_the_old_passphrase_no_longer_does(
    dealt: Stage,
) -> None:
    assert not dealt.opens(OLD)
    for number, names in enumerate(("jia yi", "bing jia", "yi bing", "jia yi bing")):
        assert dealt.opens(dealt.open(names, f"open{number}"))
    record = dealt.record("share")
    assert [step.members["custodian"] for step in record.find(CONFIRMED)] == ["jia", "yi", "bing"]
    assert record.signatures == {"jia", "yi", "bing"}
    assert len(dealt.record("open0").find(OPENED)) == 1


def test_one_alone_is_refused_and_it_is_on_record(dealt: Stage) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        dealt.open("jia")
    assert caught.value.reason == "SHARE_THRESHOLD"
    assert _refused(dealt.record("open")) == [("SHARE_THRESHOLD", None)]


def test_the_same_share_twice_counts_once(dealt: Stage) -> None:
    custodian = Custodian.open(
        dealt.root / "jia",
        passphrase="passphrase of jia",
        clock=dealt.clock,
        entropy=dealt.entropy(),
    )
    share = _share(dealt, "jia")
    point = open_share(share, custodian, at=dealt.clock.now())
    with pytest.raises(FailedPreconditionError) as caught:
        combine_shares([(share, point), (share, point)])
    assert caught.value.reason == "SHARE_THRESHOLD"


def test_one_person_under_two_names_is_refused(stage: Stage) -> None:
    # Two folders with the same keys would be two shares in one hand.
    shutil.copytree(stage.root / "jia", stage.root / "copy")
    stage.script("share", "jia yi bing")
    path = stage.root / "share.toml"
    path.write_text(path.read_text().replace('folder = "yi"', 'folder = "copy"'))
    with pytest.raises(KeyStoreError) as caught:
        stage.begin(Script.load(path))
    assert caught.value.reason == "CUSTODIAN_OTHER"


def test_an_expired_share_is_refused_with_its_reason_and_on_record(stage: Stage) -> None:
    stage.share(lifetime="30d")
    stage.clock.advance(days=30)
    with pytest.raises(FailedPreconditionError) as caught:
        stage.open("jia yi")
    assert caught.value.reason == "SHARE_EXPIRED"
    assert "jia" in caught.value.message
    assert _refused(stage.record("open")) == [("SHARE_EXPIRED", "jia")]


def test_the_end_of_a_share_cannot_be_moved(stage: Stage) -> None:
    stage.share(lifetime="30d")
    stage.clock.advance(days=31)
    _alter(stage, "jia", lambda members: members["deal"].update(expires_at=4102444800))
    with pytest.raises(IntegrityError) as caught:
        stage.open("jia yi")
    assert caught.value.reason == "SHARE_CORRUPT"
    assert "jia" in caught.value.message


def test_expired_shares_may_be_renewed_by_a_script_that_says_so(stage: Stage) -> None:
    stage.share(lifetime="30d")
    stage.clock.advance(days=60)
    script = stage.script("renew", "jia bing ding", threshold=3, holders="jia yi")
    stage.begin(script).renew(stage.store)
    assert stage.opens(stage.open("ding jia bing", "after"))
    with pytest.raises(KeyStoreError) as caught:
        stage.open("yi jia", "former")
    assert caught.value.reason == "SHARE_NOT_FOUND"
    presented = stage.record("renew").find("presented")
    assert [step.members["expired"] for step in presented] == [True, True]


def test_shares_of_two_ceremonies_do_not_mix(dealt: Stage, shared: Path) -> None:
    other = Stage(Path(shutil.copytree(shared, dealt.root / "other")))
    other.begin(other.script("renew", "jia yi bing", holders="jia yi")).renew(other.store)
    mine, theirs = _share(dealt, "jia"), read_share(other.root / "yi", _master(other))
    opened = []
    for share, root in ((mine, dealt.root / "jia"), (theirs, other.root / "yi")):
        custodian = Custodian.open(
            root,
            passphrase=f"passphrase of {root.name}",
            clock=dealt.clock,
            entropy=dealt.entropy(),
        )
        opened.append((share, open_share(share, custodian, at=dealt.clock.now())))
    with pytest.raises(FailedPreconditionError) as caught:
        combine_shares(opened)
    assert caught.value.reason == "SHARE_MIXED"
    assert "yi" in caught.value.message


def test_shares_for_another_store_are_not_taken_for_this_one(dealt: Stage, shared: Path) -> None:
    other = Stage(Path(shutil.copytree(shared, dealt.root / "other")))
    other.begin(other.script("renew", "jia yi bing", holders="jia yi")).renew(other.store)
    shutil.copy(other.store / MASTER_FILE, dealt.store / MASTER_FILE)
    with pytest.raises(KeyStoreError) as caught:
        dealt.open("jia yi")
    assert caught.value.reason == "SHARE_NOT_FOUND"


@pytest.mark.parametrize("flip", [0, 20, -1])
def test_a_corrupt_share_is_named(dealt: Stage, flip: int) -> None:
    path = next((dealt.root / "yi").glob(f"*{SUFFIX}"))
    share = Share.parse(path.read_bytes().removesuffix(b"\n"))
    sealed = bytearray(share.sealed)
    sealed[flip] ^= 1
    path.write_bytes(Share(deal=share.deal, index=share.index, sealed=bytes(sealed)).to_bytes())
    with pytest.raises(IntegrityError) as caught:
        dealt.open("jia yi")
    assert caught.value.reason == "SHARE_CORRUPT"
    assert "yi" in caught.value.message
    assert _refused(dealt.record("open")) == [("SHARE_CORRUPT", "yi")]


def test_a_share_cut_short_is_named(dealt: Stage) -> None:
    path = next((dealt.root / "yi").glob(f"*{SUFFIX}"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(KeyStoreError) as caught:
        dealt.open("jia yi")
    assert caught.value.reason == "SHARE_FILE"
    assert "yi" in caught.value.message


def test_a_share_in_another_folder_does_not_open(dealt: Stage) -> None:
    mine, theirs = (next((dealt.root / name).glob(f"*{SUFFIX}")) for name in ("jia", "yi"))
    shutil.copy(theirs, mine)
    with pytest.raises(FailedPreconditionError) as caught:
        dealt.open("jia bing")
    assert caught.value.reason == "SHARE_HOLDER"


def test_a_wrong_passphrase_of_a_custodian_is_on_record(dealt: Stage) -> None:
    script = dealt.script("open", "jia yi")
    ceremony = Ceremony.begin(
        script, clock=dealt.clock, entropy=dealt.entropy(), ask=lambda _: "guess"
    )
    with pytest.raises(WrongPassphraseError):
        ceremony.open(dealt.store)
    assert _refused(dealt.record("open")) == [("WRONG_PASSPHRASE", "jia")]


def test_a_wrong_passphrase_of_the_store_changes_nothing(stage: Stage) -> None:
    script = stage.script("share", "jia yi bing")
    with pytest.raises(WrongPassphraseError):
        stage.begin(script).share(stage.store, passphrase="guess")
    assert stage.opens(OLD)
    assert _refused(stage.record("share")) == [("WRONG_PASSPHRASE", None)]
    stage.begin(script).share(stage.store, passphrase=OLD)
    assert not stage.opens(OLD)


# --- interruptions --------------------------------------------------------------------------


class _Stops(FixedClock):
    """A clock that stops the process once a record has so many steps."""

    def __init__(self, now: datetime, record: Path, steps: int) -> None:
        super().__init__(now)
        self._record = record
        self._steps = steps

    def now(self) -> datetime:
        written = self._record.read_bytes() if self._record.exists() else b""
        if written.count(b"\n") == self._steps:
            raise _CrashError
        return super().now()


class _CrashError(Exception):
    pass


def test_a_ceremony_stopped_at_any_point_is_run_again_to_its_end(stage: Stage) -> None:
    pristine = stage.root.parent / "pristine"
    shutil.copytree(stage.root, pristine)
    old = _master(stage)
    resealed = []
    for steps in itertools.count():
        shutil.rmtree(stage.root)
        shutil.copytree(pristine, stage.root)
        script = stage.script("share", "jia yi")
        clock = _Stops(stage.clock.now(), script.record_path, steps)
        try:
            stage.begin(script, clock).share(stage.store, passphrase=OLD)
        except _CrashError:
            resealed.append(_master(stage) != old)
        else:
            break
        stage.begin(script).share(stage.store, passphrase=OLD)
        record = stage.record("share")
        deals = [step.members["deal"] for step in record.find(DEALT)]
        # The store is under the newest deal, whose shares were all proven.
        assert b64url_decode(deals[-1]["opens"]) == _master(stage)
        assert len(record.find(CONFIRMED)) >= 2
        assert len(record.find(RESEALED)) == 1
        assert record.signatures == {"jia", "yi"}
        # A deal is made anew unless the store was sealed for it already.
        assert not resealed[-1] or len(deals) == 1
        if resealed.count(True) == 1 and resealed[-1]:
            assert stage.opens(stage.open("yi jia", "after"))
    # It was stopped on both sides of the one step that counts.
    assert len(resealed) == 7
    assert set(resealed) == {False, True}


# --- the script and the record ------------------------------------------------------------


def test_a_script_that_changed_after_the_beginning_is_refused(stage: Stage) -> None:
    stage.begin(stage.script("share", "jia yi bing"))
    changed = stage.script("share", "jia yi bing", threshold=3)
    with pytest.raises(FailedPreconditionError) as caught:
        stage.begin(changed)
    assert caught.value.reason == "SCRIPT_CHANGED"


def test_a_ceremony_beyond_its_window_is_refused(dealt: Stage) -> None:
    script = dealt.script("open", "jia yi")
    dealt.begin(script)
    dealt.clock.advance(timedelta(hours=8, seconds=1))
    with pytest.raises(FailedPreconditionError) as caught:
        dealt.begin(script)
    assert caught.value.reason == "CEREMONY_EXPIRED"
    assert _refused(dealt.record("open")) == [("CEREMONY_EXPIRED", None)]


def test_a_clock_that_jumped_back_is_refused(dealt: Stage) -> None:
    dealt.clock.advance(days=-1)
    before = dealt.record("share").head
    with pytest.raises(FailedPreconditionError) as caught:
        dealt.begin(dealt.script("share", "jia yi bing")).share(dealt.store, passphrase=OLD)
    assert caught.value.reason == "CLOCK_WENT_BACK"
    assert dealt.record("share").head == before


def test_setting_the_clock_back_does_not_revive_a_share(dealt: Stage) -> None:
    dealt.clock.advance(days=-1)
    with pytest.raises(FailedPreconditionError) as caught:
        dealt.open("jia yi")
    assert caught.value.reason == "CLOCK_WENT_BACK"


def test_a_script_for_one_thing_does_not_do_another(dealt: Stage) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        dealt.begin(dealt.script("open", "jia yi")).renew(dealt.store)
    assert caught.value.reason == "OPERATION"


def test_a_custodian_exchanged_since_the_beginning_is_refused(stage: Stage) -> None:
    script = stage.script("share", "jia yi bing")
    stage.begin(script)
    shutil.rmtree(stage.root / "yi")
    stage.custodian("yi", NAMES["yi"])
    with pytest.raises(FailedPreconditionError) as caught:
        stage.begin(script).share(stage.store, passphrase=OLD)
    assert caught.value.reason == "CUSTODIAN_OTHER"
    assert stage.opens(OLD)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("threshold = 2", "threshold = 1"), "THRESHOLD"),
        (("threshold = 2", "threshold = 4"), "THRESHOLD"),
        (('id = "yi"', 'id = "jia"'), "CUSTODIAN_TWICE"),
        (('lifetime = "730d"', 'lifetime = "9999d"'), "LIFETIME"),
        (('operation = "share"', 'operation = "renew"'), "HOLDERS"),
        (('purpose = "演练"', 'purpose = ""'), "TEXT"),
        (('id = "yi"', 'id = "../yi"'), "CUSTODIAN"),
        (("threshold = 2", "treshold = 2"), "UNKNOWN_KEY"),
    ],
)
def test_a_script_that_cannot_be_followed_is_refused(
    stage: Stage, change: tuple[str, str], reason: str
) -> None:
    stage.script("share", "jia yi bing")
    path = stage.root / "share.toml"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ConfigurationError) as caught:
        Script.load(path)
    assert reason in {violation.reason for violation in caught.value.violations}


def test_a_record_shows_every_change(dealt: Stage) -> None:
    path = dealt.root / "share.record"
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        path.write_bytes(b"".join([*lines[:number], *lines[number + 1 :]]))
        if number + 1 < len(lines):
            _assert_broken(dealt)
        changed = json.loads(line)
        changed["at"] += 1
        again = json.dumps(changed, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        path.write_bytes(b"".join([*lines[:number], again.encode() + b"\n", *lines[number + 1 :]]))
        if number + 1 < len(lines):
            _assert_broken(dealt)
    path.write_bytes(b"".join([*lines, lines[-1]]))
    _assert_broken(dealt)


def test_a_signature_by_somebody_else_breaks_the_record(dealt: Stage) -> None:
    record = dealt.record("share")
    stranger = ES256.generate()
    record.sign("jia", stranger)
    _assert_broken(dealt)


def test_a_step_of_no_known_kind_breaks_the_record(dealt: Stage) -> None:
    # Well formed, and in its place: but nothing here writes it.
    path = dealt.root / "share.record"
    lines = path.read_bytes().splitlines()
    step = {
        "at": json.loads(lines[-1])["at"],
        "event": "invented",
        "previous": b64url_encode(sha256(lines[-1]).digest()),
        "sequence": len(lines) + 1,
    }
    path.write_bytes(path.read_bytes() + canonical_json(step) + b"\n")
    _assert_broken(dealt)


def test_a_line_that_a_crash_cut_short_is_dropped(dealt: Stage) -> None:
    path = dealt.root / "share.record"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at":17')
    assert dealt.record("share").signatures == {"jia", "yi", "bing"}
    assert path.read_bytes() == whole


def _assert_broken(stage: Stage) -> None:
    with pytest.raises(IntegrityError) as caught:
        stage.record("share")
    assert caught.value.reason == "RECORD_BROKEN"


def test_the_secret_is_nowhere_on_disk(dealt: Stage) -> None:
    passphrase = dealt.open("jia yi").encode()
    for path in dealt.root.rglob("*"):
        if path.is_file():
            assert passphrase not in path.read_bytes()


def test_shares_are_parsed_strictly(dealt: Stage) -> None:
    share = _share(dealt, "jia")
    assert Share.parse(share.to_bytes()) == share
    for change in ({"index": 4}, {"schema": 2}, {"more": 1}):
        members = {**json.loads(share.to_bytes()), **change}
        with pytest.raises(MalformedError):
            Share.parse(json.dumps(members).encode())
    with pytest.raises(YinxinError):
        Share.parse(b"\x00")


@given(st.binary(max_size=600))
def test_what_is_no_share_is_malformed(content: bytes) -> None:
    with pytest.raises(MalformedError):
        Share.parse(content)


@given(st.integers(0, 1 << 20), st.integers(0, 7))
def test_a_flipped_bit_is_never_another_share(place: int, bit: int) -> None:
    deal = Deal(
        ceremony="0" * 32,
        holders=("jia", "yi"),
        threshold=2,
        dealt_at=1,
        expires_at=2,
        opens=bytes(32),
        commitments=(bytes(32), bytes(32)),
    )
    share = Share(deal=deal, index=1, sealed=bytes(60))
    data = bytearray(share.to_bytes())
    data[place % len(data)] ^= 1 << bit
    try:
        assert Share.parse(bytes(data)) != share
    except YinxinError:
        """Most flips are refused; none passes for what it was."""


def _share(stage: Stage, name: str) -> Share:
    path = next((stage.root / name).glob(f"*{SUFFIX}"))
    return Share.parse(path.read_bytes().removesuffix(b"\n"))


def _master(stage: Stage) -> bytes:
    return sha256((stage.store / MASTER_FILE).read_bytes()).digest()


def _alter(stage: Stage, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = next((stage.root / name).glob(f"*{SUFFIX}"))
    members = json.loads(path.read_bytes())
    change(members)
    path.write_text(json.dumps(members))
