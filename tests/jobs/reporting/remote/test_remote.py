"""A reporter in another process: what it reports, and how it ends."""

import logging
import os
import pickle
import threading
from typing import Any

import pytest

from jobs.exceptions import InvalidTransition, InvalidValue, JobCancelled, JobError, StaleAttempt
from jobs.reporting.listener import Listener
from jobs.reporting.logs import JobLogHandler
from jobs.reporting.notes import Notes
from jobs.reporting.remote import RemoteReporter
from tests.jobs.reporting.remote.reported import OVER, entries, until


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


def test_handle__is_small(report: RemoteReporter) -> None:
    assert len(pickle.dumps(report)) < 300
    with pytest.raises(AttributeError):
        report.result = 5  # type: ignore[attr-defined]
