"""The signer's own record: whole, or refused; never behind its signatures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from support.clock import FixedClock
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.signer_journal import Act, SignerJournal, read_journal
from yinxin_proto.error import IntegrityError, UnavailableError

LICENCE = KeyRef("11350399MB0000017D", Purpose.LICENCE)


def act(number: int) -> Act:
    return Act("sign", LICENCE, "region-350399", sha256(b"%d" % number).digest())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = SignerJournal(tmp_path / "journal.jsonl", clock=FixedClock())
    for number in range(3):
        journal.record(act(number))
    journal.close()
    return tmp_path / "journal.jsonl"


def test_every_act_is_a_line_bound_to_the_one_before(path: Path) -> None:
    lines = list(read_journal(path))
    assert [line["number"] for line in lines] == [1, 2, 3]
    assert len({line["previous"] for line in lines}) == 3
    assert {line["principal"] for line in lines} == {"region-350399"}


def test_it_goes_on_where_it_ended(path: Path) -> None:
    journal = SignerJournal(path, clock=FixedClock())
    assert journal.head[0] == 3
    journal.record(act(3))
    head = journal.head
    journal.close()
    assert len(list(read_journal(path))) == 4
    again = SignerJournal(path, clock=FixedClock())
    assert again.head == head
    again.close()


def test_a_line_that_a_crash_cut_short_is_dropped(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"act":"sign","at":')
    assert len(list(read_journal(path))) == 3
    SignerJournal(path, clock=FixedClock()).close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "tamper",
    [
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [lines[0], lines[1].replace(b"region-350399", b"region-350398"), lines[2]],
        lambda lines: [lines[0], lines[1].replace(b":", b": ", 1), lines[2]],
        lambda lines: [lines[0], b"not a line\n", lines[2]],
        lambda lines: lines[1:],
    ],
    ids=["taken-out", "swapped", "altered", "respaced", "not-json", "first-taken-out"],
)
def test_a_journal_that_was_changed_is_refused_and_kept(path: Path, tamper: object) -> None:
    assert callable(tamper)
    changed = b"".join(tamper(path.read_bytes().splitlines(keepends=True)))
    path.write_bytes(changed)
    with pytest.raises(IntegrityError, match="evidence") as caught:
        SignerJournal(path, clock=FixedClock())
    assert caught.value.reason == "JOURNAL_LINE"
    assert path.read_bytes() == changed


def test_two_signers_do_not_write_one_journal(path: Path) -> None:
    first = SignerJournal(path, clock=FixedClock())
    with pytest.raises(UnavailableError) as caught:
        SignerJournal(path, clock=FixedClock())
    assert caught.value.reason == "JOURNAL_IN_USE"
    first.close()


def test_threads_share_it(path: Path) -> None:
    journal = SignerJournal(path, clock=FixedClock())
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(journal.record, map(act, range(200))))
    journal.close()
    assert len(list(read_journal(path))) == 203
