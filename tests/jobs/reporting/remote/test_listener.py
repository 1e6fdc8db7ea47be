"""Who is heard by what listens to other processes, and who is not."""

import os
import socket
import stat
from typing import Any

import pytest

from jobs.exceptions import JobCancelled
from jobs.reporting import link as linking
from jobs.reporting import listener as listening
from jobs.reporting import page, wire
from jobs.reporting.listener import Listener
from jobs.reporting.notes import Notes
from jobs.reporting.remote import RemoteReporter
from tests.jobs.reporting.remote.reported import WAIT_SECONDS, entries, until


def say(listener: Listener, *words: bytes, memory: bool = True) -> bytes:
    """Say something and return the answer, which is nothing."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT_SECONDS)
        connection.connect(listener.address)
        descriptor = page.shared_memory()
        try:
            socket.send_fds(connection, [words[0][:1]], [descriptor] if memory else [])
            for each in (words[0][1:], *words[1:]):
                connection.sendall(each)
            return connection.recv(100)
        except ConnectionError:
            return b""
        finally:
            os.close(descriptor)


@pytest.mark.parametrize(
    "words",
    [
        (b"not the token\n",),
        (b"\n",),
        (b"x" * (wire.MAX_LINE + 10_000),),
        (b"TOKEN\n", b"x" * (wire.MAX_LINE + 10_000)),
        (b"TOKEN\n", b"\xff\n"),
        (b"TOKEN\n", b"[" * 100_000 + b"\n"),
        (b"TOKEN\n", b'["take", {}]\n'),
        (b"TOKEN\n", b'["log", {"text": 5, "level": "info"}]\n'),
        (b"TOKEN\n", b'["log"]\n'),
        (b"TOKEN\n", b"5\n"),
        (b"TOKEN\n", b'["output", {"text": "", "name": "/"}]\n'),
        (b"TOKEN\n", b'["output", {"text": "", "name": 5}]\n'),
    ],
)
def test_stranger__is_not_heard_and_harms_nobody(
    notes: Notes, listener: Listener, report: RemoteReporter, warned: list[str], words: tuple[bytes, ...]
) -> None:
    report.advance()
    assert say(listener, *(each.replace(b"TOKEN", listener.token.encode()) for each in words)) == b""
    assert len(warned) == 1
    report.advance()
    report.log("on")
    assert [each["text"] for each in entries(notes, listener, "log")] == ["on"]
    assert notes.current == 2


def test_stranger__without_memory_or_with_a_file_that_is_none(listener: Listener, warned: list[str]) -> None:
    assert say(listener, f"{listener.token}\n".encode(), memory=False) == b""
    assert len(warned) == 1


def test_numbers__that_are_none_are_not_counted(notes: Notes, listener: Listener, report: RemoteReporter) -> None:
    report.advance(4)
    until(lambda: notes.current == 4)
    assert report._link._page is not None
    for number in (float("nan"), float("inf"), -5.0, 1e300):
        report._link._page.counted = number
        assert notes.current == 4
    report.advance()
    assert notes.current == 5


def test_directory__is_of_this_user_alone(listener: Listener) -> None:
    status = os.stat(os.path.dirname(listener.address))
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, os.geteuid())


def test_listener__at_its_limit(
    notes: Notes, listener: Listener, report: RemoteReporter, warned: list[str], monkeypatch: Any
) -> None:
    report.advance()
    until(lambda: listener._peers)
    monkeypatch.setattr(listening, "MOST_PEERS", 1)
    assert say(listener, f"{listener.token}\n".encode()) == b""
    report.advance()
    assert notes.current == 2
    assert len(warned) == 1


def test_listener__at_the_systems_limit(
    notes: Notes, listener: Listener, report: RemoteReporter, warned: list[str], monkeypatch: Any
) -> None:
    report.advance()
    until(lambda: listener._peers)

    def refuses(self: socket.socket) -> None:
        raise OSError("Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "accept", refuses)
        late = RemoteReporter(listener.address, listener.token, "job-1")
        late._known = linking.Link(listener.address, listener.token, Notes("job-1"))
        late.advance(10)
        until(lambda: warned)
    assert notes.current == 1
    report._link._lose("the end of the test")
    until(lambda: notes.current == 11)


def test_listener__tells_a_stranger_nothing(listener: Listener) -> None:
    listener.stop(JobCancelled("job-1"))
    assert say(listener, b"not the token\n") == b""
