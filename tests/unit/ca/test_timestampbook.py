from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import EPOCH, SeededEntropy
from yinxin_ca.timestampbook import FileTimestampBook
from yinxin_proto.error import FailedPreconditionError, IntegrityError, KeyStoreError

SECOND = timedelta(seconds=1)


def _open(path: Path, seed: str = "a") -> FileTimestampBook:
    return FileTimestampBook(path, entropy=SeededEntropy(seed))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "timestamps"


def test_numbers_differ_and_times_do_not_go_back(path: Path) -> None:
    book = _open(path)
    numbers = [book.reserve(EPOCH + n * SECOND) for n in (0, 0, 1, 5)]
    assert len(set(numbers)) == 4
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FailedPreconditionError) as refused:
        book.reserve(EPOCH + 4 * SECOND)
    assert refused.value.reason == "CLOCK_BACK"


def test_a_new_process_knows_the_last_time(path: Path) -> None:
    first = _open(path)
    number = first.reserve(EPOCH)
    first.close()
    again = _open(path, "b")
    assert again.reserve(EPOCH) >> 64 == (number >> 64) + 1
    with pytest.raises(FailedPreconditionError):
        again.reserve(EPOCH - SECOND)


def test_a_book_restored_from_a_backup_still_gives_new_numbers(path: Path) -> None:
    book = _open(path)
    backup = path.read_bytes()
    numbers = {book.reserve(EPOCH) for _ in range(3)}
    path.write_bytes(backup)
    restored = _open(path, "other machine")
    assert numbers.isdisjoint({restored.reserve(EPOCH) for _ in range(3)})


@pytest.mark.parametrize("torn", range(0, 64, 7))
def test_a_torn_slot_leaves_the_one_before(path: Path, torn: int) -> None:
    book = _open(path)
    for n in range(3):
        book.reserve(EPOCH + n * SECOND)
    # The third entry is in the second slot.
    content = bytearray(path.read_bytes())
    content[64 + torn] ^= 0xFF
    path.write_bytes(content)
    again = _open(path)
    with pytest.raises(FailedPreconditionError):
        again.reserve(EPOCH)
    again.reserve(EPOCH + SECOND)


def test_a_book_with_no_whole_slot_stamps_nothing(path: Path) -> None:
    _open(path).close()
    path.write_bytes(bytes(128))
    with pytest.raises(IntegrityError):
        _open(path)
    path.write_bytes(b"")
    with pytest.raises(IntegrityError):
        _open(path)


def test_a_book_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyStoreError):
        _open(tmp_path / "link")


def test_threads_and_books_share_one_count(path: Path) -> None:
    books = [_open(path, str(n)) for n in range(3)]
    numbers: list[int] = []

    def stamp(book: FileTimestampBook) -> None:
        numbers.extend(book.reserve(EPOCH) for _ in range(20))

    threads = [threading.Thread(target=stamp, args=(book,)) for book in books for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number >> 64 for number in numbers) == list(range(1, 121))


_ENDLESS = """
import sys
from pathlib import Path
from datetime import timedelta
from support.clock import EPOCH, SeededEntropy
from yinxin_ca.timestampbook import FileTimestampBook
book = FileTimestampBook(Path(sys.argv[1]), entropy=SeededEntropy("process"))
n = 0
while True:
    n += 1
    book.reserve(EPOCH + timedelta(seconds=n))
    print(n, flush=True)
"""


@pytest.mark.faults
def test_a_killed_process_leaves_every_time_that_it_was_given(path: Path) -> None:
    support = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(support)},
    )
    assert process.stdout is not None
    for _ in range(40):
        given = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    given = max([given, *map(int, process.stdout.read().split())])
    process.stdout.close()
    process.wait()
    book = _open(path)
    with pytest.raises(FailedPreconditionError):
        book.reserve(EPOCH + (given - 1) * SECOND)
