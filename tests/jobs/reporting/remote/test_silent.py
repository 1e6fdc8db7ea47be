"""A block's process that takes nothing of what others report."""

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator

import pytest

from jobs.reporting import link as linking
from jobs.reporting import rendezvous, wire
from jobs.reporting.notes import Notes
from jobs.reporting.remote import RemoteReporter
from tests.jobs.reporting.remote.reported import until


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch, notes: Notes) -> Iterator[tuple[RemoteReporter, socket.socket]]:
    """A reporter, and the socket of a process that is stopped."""
    monkeypatch.setattr(linking, "WAIT_SECONDS", 0.1)
    stopped, address = rendezvous.listening_socket(1)
    yield RemoteReporter(address, secrets.token_hex(), "job-1"), stopped
    stopped.close()
    rendezvous.remove(address)


def test_process__that_is_stopped_holds_up_the_work_once(silent: tuple[RemoteReporter, socket.socket]) -> None:
    report, stopped = silent
    began = time.monotonic()
    for number in range(2_000):
        report.log(f"{number} " + "x" * 1_000)
        report.advance()
    assert time.monotonic() - began < 2.0
    assert report._link._page is not None
    assert report._link._page.is_behind
    stopped.setblocking(True)
    connection, _ = stopped.accept()
    received, lines = wire.Lines(), []
    while len(lines) < 2_001:  # after which the process goes on
        lines += received.of(connection.recv(1_000_000))
    assert lines[0] == report._token.encode()
    assert [wire.parsed(line)[1]["text"].split()[0] for line in lines[1:]] == [str(number) for number in range(2_000)]
    until(lambda: not report._link._page.is_behind)
    assert report._link._page.counted == 2_000
    connection.close()
    until(lambda: report._link.is_over)


def test_process__that_dies_with_something_unsaid(
    silent: tuple[RemoteReporter, socket.socket], warned: list[str]
) -> None:
    report, stopped = silent
    for _ in range(2_000):
        report.log("x" * 1_000)
    stopped.close()  # with what was not accepted
    until(lambda: report._link._is_lost)
    report.log("on and on")
    until(lambda: not report._link._has_thread)
    assert len(warned) == 1


def test_process__that_does_not_even_accept(silent: tuple[RemoteReporter, socket.socket]) -> None:
    report, stopped = silent
    fill = []
    for _ in range(5):
        fill.append(socket.socket(socket.AF_UNIX))
        fill[-1].setblocking(False)
        try:
            fill[-1].connect(report._address)
        except BlockingIOError:
            break
    else:
        pytest.fail("The queue is never full")
    began = time.monotonic()
    for _ in range(1_000):
        report.advance()
    report.log("kept")
    assert time.monotonic() - began < 2.0
    for each in fill:
        each.close()
    with contextlib.suppress(BlockingIOError):
        while True:
            stopped.accept()[0].close()
    report._link._connect_at = 0.0  # some seconds later
    report.advance()
    assert report._link._page is not None
    assert report._link._page.counted == 1_001
    report._link._lose("the end of the test")
