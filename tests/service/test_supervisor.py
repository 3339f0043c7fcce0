"""Real supervisors with real workers, in processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import echo
from yinxin_edge.channel import open_channel
from yinxin_edge.directory_lock import lock_directory
from yinxin_edge.port import reserve_port
from yinxin_proto.error import ConfigurationError

TESTS = Path(__file__).parent.parent

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*modes: str, listen: str = "127.0.0.1:0", directory: Path = tmp_path) -> object:
        process = subprocess.Popen(
            [sys.executable, "-m", "support.supervised", str(directory), listen, *modes],
            env=os.environ | {"PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        return process

    yield start  # type: ignore[misc]
    for process in started:
        process.kill()
        process.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _address(process: subprocess.Popen[str]) -> str:
    word, _, address = _line(process).partition(" ")
    assert word == "ready"
    return address


def _pids(address: str, count: int, *, without: frozenset[int] = frozenset()) -> set[int]:
    """Ask over new connections until ``count`` workers have answered."""
    found: set[int] = set()
    deadline = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < deadline, found
        with open_channel(address, None, own_connection=True) as channel:
            found.add(int(echo.single(channel)("pid", wait_for_ready=True)))
        found -= without
    return found


def _await_end(pids: set[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its supervisor"
        time.sleep(0.02)


def test_ready_is_announced_when_the_slowest_worker_serves(start: Start) -> None:
    began = time.monotonic()
    supervisor = start("serve", "slow")
    address = _address(supervisor)
    assert time.monotonic() - began > 0.7
    assert len(_pids(address, 2)) == 2


def test_sigterm_lets_calls_in_flight_succeed(start: Start) -> None:
    supervisor = start("serve", "serve")
    address = _address(supervisor)
    pids = _pids(address, 2)

    def ask() -> str:
        with open_channel(address, None, own_connection=True) as channel:
            return echo.single(channel)("sleep 1")

    with ThreadPoolExecutor(6) as pool:
        flying = [pool.submit(ask) for _ in range(6)]
        time.sleep(0.5)
        supervisor.send_signal(signal.SIGTERM)
        assert [call.result() for call in flying] == ["sleep 1"] * 6
    assert supervisor.wait(10) == 0
    _await_end(pids, 0.1)


def test_workers_end_when_their_supervisor_is_killed(start: Start) -> None:
    supervisor = start("serve", "stubborn")
    address = _address(supervisor)
    pids = _pids(address, 2)
    supervisor.kill()
    _await_end(pids, 3)
    # And the next one may have the port at once.
    assert _address(start("serve", listen=address)) == address


def test_a_killed_worker_is_replaced(start: Start) -> None:
    address = _address(start("serve", "serve"))
    pids = _pids(address, 2)
    os.kill(min(pids), signal.SIGKILL)
    replaced = _pids(address, 2, without=frozenset({min(pids)}))
    assert max(pids) in replaced


def test_a_worker_that_keeps_crashing_ends_the_service_loudly(start: Start) -> None:
    supervisor = start("serve", "once")
    pids = _pids(_address(supervisor), 2)
    # Whichever of the two it is, only "once" cannot start again.
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert _line(supervisor) == "INTERNAL WORKER_CRASHED"
    assert supervisor.wait(10) == 1


def test_a_worker_that_cannot_serve_says_why(start: Start) -> None:
    supervisor = start("serve", "refuse")
    assert _line(supervisor) == "CONFIGURATION WRONG_SETTING x"
    assert supervisor.wait(10) == 1


def test_a_worker_that_crashes_before_it_is_ready_ends_the_start(start: Start) -> None:
    assert _line(start("crash")) == "INTERNAL WORKER_CRASHED"


def test_a_worker_that_is_never_ready_ends_the_start(start: Start) -> None:
    assert _line(start("hang")) == "UNAVAILABLE WORKER_START_TIMEOUT"


def test_a_worker_that_does_not_stop_is_killed(start: Start) -> None:
    supervisor = start("stubborn")
    pids = _pids(_address(supervisor), 1)
    began = time.monotonic()
    supervisor.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    # A second signal: do not wait for the grace to pass.
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(10) == 0
    assert time.monotonic() - began < 4
    _await_end(pids, 0.1)


def test_a_second_server_cannot_share_the_port(start: Start, tmp_path: Path) -> None:
    address = _address(start("serve"))
    other = tmp_path / "other"
    other.mkdir()
    assert _line(start("serve", listen=address, directory=other)) == "CONFIGURATION PORT_TAKEN"


def test_a_second_server_cannot_share_the_directory(start: Start, tmp_path: Path) -> None:
    supervisor = start("serve")
    _address(supervisor)
    assert _line(start("serve")) == "CONFIGURATION REGION_LOCKED"
    with pytest.raises(ConfigurationError) as caught, lock_directory(tmp_path):
        pass
    assert str(supervisor.pid) in str(caught.value)


def test_a_reserved_port_is_nobody_elses_even_before_anyone_listens() -> None:
    with reserve_port("127.0.0.1:0") as address:
        host, _, port = address.rpartition(":")
        with socket.socket() as second, pytest.raises(OSError, match="in use"):
            second.bind((host, int(port)))


def test_a_name_with_several_addresses_is_reserved_on_all_of_them() -> None:
    with (
        reserve_port("localhost:0") as address,
        socket.socket() as second,
        pytest.raises(OSError, match="in use"),
    ):
        second.bind(("127.0.0.1", int(address.rpartition(":")[2])))


@pytest.mark.parametrize("listen", ["8443", "host:", ":80", "127.0.0.1:http", "127.0.0.1:70000"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ConfigurationError) as caught, reserve_port(listen):
        pass
    assert caught.value.reason == "ADDRESS"


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught, lock_directory(tmp_path / "absent"):
        pass
    assert caught.value.reason == "REGION_DIRECTORY"
