"""A reporter in another process, and what listens to it: both in this one, and without a database."""

import contextlib
import logging
import os
import pickle
import secrets
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.exceptions import InvalidTransition, InvalidValue, JobCancelled, JobError, StaleAttempt
from jobs.reporting import link as linking
from jobs.reporting import listener as listening
from jobs.reporting import page, rendezvous, wire
from jobs.reporting.listener import Listener
from jobs.reporting.logs import JobLogHandler
from jobs.reporting.notes import Notes
from jobs.reporting.remote import RemoteReporter

WAIT_SECONDS = 10.0
OVER = InvalidTransition("job-1", "completed", "in_progress")


@pytest.fixture
def notes() -> Notes:
    return Notes("job-1")


@pytest.fixture
def listener(notes: Notes) -> Iterator[Listener]:
    made = Listener(notes)
    yield made
    made.close(OVER)


@pytest.fixture
def report(listener: Listener) -> RemoteReporter:
    return RemoteReporter(listener.address, listener.token, "job-1")


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    words: list[str] = []
    for module in (linking, listening):
        monkeypatch.setattr(module.logger, "warning", lambda text, *arguments: words.append(text % arguments))
    return words


def until(condition: Any) -> None:
    give_up_at = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def entries(notes: Notes, listener: Listener, *names: str) -> list[dict[str, Any]]:
    listener.close(OVER)
    return [arguments for name, arguments in notes.take() if name in (names or ("log", "output", "mark_progress"))]


# What is reported


def test_report__is_noted_where_the_block_is(notes: Notes, listener: Listener, report: RemoteReporter) -> None:
    notes.total = 10
    report.advance(2, message="two")
    report.report(current=5, total=20)
    report.log("a line", level="WARNING")
    report.report(message="and more")
    assert report.output("answer").write("42\n") == 3
    assert list(report.track(["a", "b"])) == ["a", "b"]
    noted = entries(notes, listener, "log", "output", "mark_progress")
    assert noted[:-1] == [
        {"text": "a line", "level": "warning"},
        {"text": "42\n", "name": "answer"},
    ]
    assert noted[-1] == {"message": "and more", "current": 7, "total": 20}


def test_total__that_was_said_elsewhere_since_is_not_said_again(
    notes: Notes, listener: Listener, report: RemoteReporter
) -> None:
    report.report(total=20)
    until(lambda: notes.total == 20)
    notes.total = 30
    report.report(message="on")
    listener.close(OVER)
    assert notes.total == 30


def test_counts__of_all_are_added(notes: Notes, listener: Listener, report: RemoteReporter) -> None:
    others = [
        RemoteReporter(listener.address, listener.token, "job-1"),
        pickle.loads(pickle.dumps(report)),
        report.remote(),
    ]
    threads = [
        threading.Thread(target=lambda each=each: [each.advance() for _ in range(5_000)]) for each in [report, *others]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    notes.advance(0.5)
    assert notes.current == 20_000.5
    listener.close(OVER)
    assert notes.current == 20_000.5


@pytest.mark.parametrize("text", ["x" * 200_000, "\x01" * 70_000, "😀" * 70_000, "a\nb\r\n", "\ud800"])
def test_output__of_any_size_and_sort(notes: Notes, listener: Listener, report: RemoteReporter, text: str) -> None:
    report.output().write(text)
    written = "".join(each["text"] for each in entries(notes, listener, "output"))
    assert written == text.encode(errors="replace").decode()


def test_values__that_can_not_be_stored_fail_nothing(
    notes: Notes, listener: Listener, report: RemoteReporter, warned: list[str], monkeypatch: Any
) -> None:
    report.advance(float("nan"))
    report.report(current="many", total=[], message=object(), stage="mine")  # type: ignore[arg-type]
    report.log("a line", level="loud")
    report.advance()
    with pytest.raises(InvalidValue):
        report.output("no name")
    assert [each.get("text") for each in entries(notes, listener, "log")] == ["a line"]
    assert (notes.current, notes.total, notes.stages.label) == (1, None, "")
    assert len([words for words in warned if "Stages" in words]) == 1


def test_handler__adds_lines_and_never_raises(notes: Notes, listener: Listener, report: RemoteReporter) -> None:
    listener.stop(JobCancelled("job-1"))
    until(lambda: report.cancel_requested)
    JobLogHandler(report=report).handle(logging.LogRecord("test", logging.INFO, "", 1, "a line", None, None))
    assert [each["text"] for each in entries(notes, listener, "log")] == ["a line"]


# How it ends


@pytest.mark.parametrize("error", [JobCancelled("job-1"), StaleAttempt("job-1", 1, 2), OVER], ids=repr)
def test_stop__raises_the_same_at_the_next_report(listener: Listener, report: RemoteReporter, error: JobError) -> None:
    report.advance()
    listener.stop(error)
    until(lambda: report.cancel_requested == isinstance(error, JobCancelled) and report._link.stopped_by)
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            report.advance()
        assert str(caught.value) == str(error)


def test_stop__is_told_to_who_comes_later(listener: Listener, report: RemoteReporter) -> None:
    listener.stop(JobCancelled("job-1"))
    until(lambda: report.cancel_requested)


def test_close__takes_what_was_reported_before_and_no_more(
    notes: Notes, listener: Listener, report: RemoteReporter, warned: list[str]
) -> None:
    report.advance(3)
    report.log("in time")
    listener.close(OVER)
    with pytest.raises(InvalidTransition):
        report.log("late")
    assert notes.current == 3
    assert [arguments["text"] for name, arguments in notes.take() if name == "log"] == ["in time"]
    assert not os.path.exists(os.path.dirname(listener.address))
    assert not warned


def test_report__after_the_end_without_a_word_before_is_dropped(
    listener: Listener, report: RemoteReporter, warned: list[str]
) -> None:
    listener.close(OVER)
    for _ in range(3):
        report.advance()
        report.log("is anybody there?")
    assert not report.cancel_requested
    assert len(warned) == 1
    assert "dropped: the block was left" in warned[0], "and not what the system calls that"
    assert not report._link.notes.has_news, "what nobody takes is not kept"


# A process that takes nothing


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


# Who must not be heard


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


def test_handle__is_small(report: RemoteReporter) -> None:
    assert len(pickle.dumps(report)) < 300
    with pytest.raises(AttributeError):
        report.result = 5  # type: ignore[attr-defined]


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


# What is left behind


def test_directories__that_were_left_behind_are_removed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(rendezvous, "_parent", lambda: str(tmp_path))
    monkeypatch.setattr(rendezvous, "_has_looked", True)
    made = [rendezvous.listening_socket(1) for _ in range(3)]
    left, young, used = (Path(path).parent for _, path in made)
    empty, foreign = tmp_path / f"{rendezvous.PREFIX}empty", tmp_path / "another"
    empty.mkdir()
    foreign.mkdir()
    target = tmp_path / f"{rendezvous.PREFIX}link"
    target.symlink_to(foreign)
    for connection, _ in made[:2]:
        connection.close()
    for each in (left, used, empty, foreign):
        os.utime(each, (0, 0))
    monkeypatch.setattr(rendezvous, "_has_looked", False)
    last, path = rendezvous.listening_socket(1)
    kept = {young, used, foreign, target, Path(path).parent}
    assert set(tmp_path.iterdir()) == kept
    for connection in (last, made[2][0]):
        connection.close()


def test_address__is_short_whatever_the_directory_for_temporary_files(monkeypatch: Any) -> None:
    monkeypatch.setattr(rendezvous.tempfile, "gettempdir", lambda: "/" + "x" * 100)
    listening_socket, path = rendezvous.listening_socket(1)
    assert path.startswith("/tmp/")
    listening_socket.close()
    rendezvous.remove(path)
