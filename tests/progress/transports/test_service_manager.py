"""What systemd is told, played by a socket of ours."""

import asyncio
import select
import socket
from collections.abc import Iterator
from errno import EMFILE
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM

import pytest

from progress.transports.daphne import service_manager
from progress.transports.daphne.service_manager import ServiceManager
from tests.conftest import MakeSite
from tests.progress.watching import LogLines

WAIT_SECONDS = 20.0


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(WAIT_SECONDS)
        yield receiver


def until_silent(systemd: socket.socket) -> set[bytes]:
    """Read until nothing comes for longer than a server that lives is silent; return what came."""
    heard = set()
    while select.select([systemd], [], [], 0.5)[0]:
        heard.add(systemd.recv(100))
    return heard


def test_server__tells_that_it_is_ready_lives_and_stops(make_site: MakeSite, systemd: socket.socket) -> None:
    served = make_site("sqlite").serve(NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="300000")
    assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    served.signal(SIGSTOP)
    assert until_silent(systemd) <= {b"WATCHDOG=1"}
    served.signal(SIGCONT)
    assert systemd.recv(100) == b"WATCHDOG=1"
    served.signal(SIGTERM)
    while (told := systemd.recv(100)) != b"STOPPING=1":
        assert told == b"WATCHDOG=1"
    assert served.wait() == 0


async def test_manager__tells_nobody_who_did_not_ask(systemd: socket.socket) -> None:
    systemd.setblocking(False)
    for environment in ({}, {"WATCHDOG_USEC": "1000"}):
        ServiceManager(environment).ready()
    await asyncio.sleep(0)
    with pytest.raises(BlockingIOError):
        systemd.recv(100)


async def test_manager__that_is_gone_stops_no_server(tmp_path: Path, logged: LogLines) -> None:
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "3000"}).ready()
    await asyncio.sleep(0.01)  # ten tries later
    lines = logged.of(service_manager.__name__)
    assert ["READY=1" in line for line in lines[:3]] == [True, False, False]


async def test_manager__abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0progress-test-notify")
        receiver.settimeout(WAIT_SECONDS)
        ServiceManager({"NOTIFY_SOCKET": "@progress-test-notify"}).stopping()
        assert receiver.recv(100) == b"STOPPING=1"


async def test_manager__tells_that_it_lives_when_no_file_is_left(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(EMFILE, "Too many open files")

    manager = ServiceManager({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "30000"})
    monkeypatch.setattr(socket, "socket", fails)
    manager.ready()
    assert systemd.recv(100) == b"READY=1"
    for _ in range(3):
        await asyncio.sleep(0.02)
        assert systemd.recv(100) == b"WATCHDOG=1"
