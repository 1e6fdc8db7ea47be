"""What a terminal is told of a job, line by line, as JSON, and at the end."""

import io
import json
from typing import Any

import pytest

from progress.client.connection import ConnectionState, ServerUnreachable, WatchRefused
from progress.client.terminal import Exit, JsonDisplay, LineDisplay, explain
from progress.client.words import CUT
from tests.progress.client.shown import STALLED
from tests.progress.scripted_server import backscroll, log, output, progress, snapshot


def lines(*frames: dict[str, Any]) -> list[str]:
    stream = io.StringIO()
    display = LineDisplay(stream)
    for frame in frames:
        display.frame_received(frame)
    return stream.getvalue().splitlines()


def test_lines__stalled_and_what_will_happen() -> None:
    shown = lines(
        snapshot(1, progress=10.0),
        progress(2, progress=10.0, metadata={"stalled": STALLED}),
        progress(3, progress=11.0),
    )
    assert shown == [
        "in progress · 10 %",
        "stalled · 10 % · If the worker stays silent, nothing is done by itself.",
        "in progress · 11 %",
    ]


def test_lines__output_is_as_it_came_and_controls_nothing() -> None:
    shown = lines(
        backscroll(cut=["output"]),
        output(1, "Hel"),
        output(2, "lo\n\tin"),
        snapshot(2, "in_progress", progress=None),
        output(3, "\x1b[2Jwo\r\x9brld", cut=True),
    )
    assert shown == ["… earlier output is left out", "Hello", "\tin", "in progress", " [2Jwo  rld", CUT]


def test_lines__one_for_each_change_of_status_or_stage() -> None:
    first, second = {"stage": "one"}, {"stage": "two"}
    shown = lines(
        snapshot(1, "queued", progress=0.0),
        progress(2, metadata=first, message="begins"),
        progress(3, metadata=first, message="goes on"),
        progress(4, metadata=second, progress=50.0),
        backscroll(),
        backscroll(cut=["log"]),
        log(5, "a\nb", level="warning"),
        progress(6, "completed", progress=100.0, message="Done", metadata=second),
    )
    assert shown == [
        "queued · 0 %",
        "in progress · 10 % · one · begins",
        "in progress · 50 % · two",
        "… earlier lines are left out",
        "warning: a b",
        "completed · 100 % · Done",
    ]


def test_lines__say_that_a_cancellation_waits_and_that_nobody_answers() -> None:
    asked, unanswered = {"cancel_requested": True}, {"cancel_requested": True, "cancel_unanswered": True}
    shown = lines(
        snapshot(1, progress=10.0),
        progress(2, progress=10.0, message="Cancellation requested", metadata=asked),
        progress(3, progress=10.0, message="Nobody", metadata={**unanswered, "attempt": 2}),
        progress(4, progress=20.0, message="goes on", metadata={**unanswered, "attempt": 2}),
        progress(5, "cancelled", progress=20.0, metadata=asked),
    )
    assert shown == [
        "in progress · 10 %",
        "cancelling · 10 % · Cancellation requested",
        "cancelling — the worker has not answered (attempt 2) · 10 % · Nobody",
        "cancelled · 20 %",
    ]


def test_json__is_one_frame_a_line() -> None:
    output = io.StringIO()
    display = JsonDisplay(output)
    frames = [snapshot(1, message="a\nb"), log(2)]
    for frame in frames:
        display.frame_received(frame)
    display.state_changed(ConnectionState(False))
    assert [json.loads(line) for line in output.getvalue().splitlines()] == frames


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WatchRefused("job_not_found", "Job not found"), Exit.NOT_FOUND),
        (WatchRefused("not_authenticated", "bad token"), Exit.NOT_FOUND),
        (WatchRefused("http_403", "refused"), Exit.OTHER),
        (ServerUnreachable("no server answers"), Exit.OTHER),
        (ValueError("not a URL"), Exit.OTHER),
    ],
)
def test_explain__gives_the_exit_code(error: Exception, code: Exit) -> None:
    assert explain(error, "ws://h")[1] is code
