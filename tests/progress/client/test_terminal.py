import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from progress.client.connection import ConnectionState, ServerUnreachable, WatchRefused
from progress.client.terminal import BarDisplay, Exit, JsonDisplay, LineDisplay, amounts, explain, plain, quiet_words
from tests.progress.scripted_server import log, progress, snapshot


def bar(*frames: dict[str, Any], state: ConnectionState | None = None, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    display = BarDisplay(console)
    for frame in frames:
        display.frame_received(frame)
    if state:
        display.state_changed(state)
    with console.capture() as capture:
        console.print(display.render())
    return capture.get()


def lines(*frames: dict[str, Any]) -> list[str]:
    output = io.StringIO()
    display = LineDisplay(output)
    for frame in frames:
        display.frame_received(frame)
    return output.getvalue().splitlines()


def test_bar__shows_what_is_known() -> None:
    facts = {"stage": "users", "current": 2_000_000, "total": 8_000_000, "unit": "bytes", "rate": 1e6, "eta_seconds": 6}
    shown = bar(snapshot(1, progress=25.0, message="row 7", metadata=facts))
    for words in (
        "Import",
        "job-1",
        "in progress",
        "25 %",
        "2.0 MB of 8.0 MB",
        "1.0 MB/s",
        "0:00:06 left",
        "users",
        "row 7",
    ):
        assert words in shown


@pytest.mark.parametrize(("progress_", "words"), [(0.0, " 0 %"), (99.99, " 99 %"), (100.0, " 100 %")])
def test_bar__a_hundred_percent_is_for_what_is_done(progress_: float, words: str) -> None:
    assert words in bar(snapshot(1, progress=progress_))


def test_bar__indeterminate_has_no_percentage() -> None:
    assert "%" not in bar(snapshot(1, progress=None))


def test_bar__failure_shows_its_error() -> None:
    assert "ValueError: no" in bar(snapshot(1, "failed", metadata={"error": "ValueError: no"}))


def test_bar__text_of_users_is_no_markup_and_controls_nothing() -> None:
    shown = bar(snapshot(1, message="[bold]x[/nonsense]\x1b[2J\nnext", metadata={"stage": "[red]"}))
    assert "[bold]x[/nonsense] [2J next" in shown
    assert "[red]" in shown
    assert "\x1b" not in shown


def test_bar__lost_connection_says_since_when_it_is_old() -> None:
    at = datetime(2026, 1, 1, 12, 3, 7).astimezone()
    shown = bar(snapshot(1), state=ConnectionState(False, "no server answers", 1, at))
    assert "reconnecting, as of 12:03:07 (no server answers)" in shown


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def test_bar__says_when_a_quiet_job_last_reported() -> None:
    facts = {"stage": "users"}
    assert "last report 0:01:0" in bar(snapshot(1, timestamp=ago(62), metadata=facts))
    assert "last report" not in bar(snapshot(1, timestamp=ago(1)))
    assert "last report" not in bar(snapshot(1, "completed", timestamp=ago(62)))
    assert "last report" not in bar(snapshot(1, "queued", timestamp=ago(62)))


def test_bar__lost_connection_hides_no_quiet_job() -> None:
    shown = bar(snapshot(1, timestamp=ago(62)), state=ConnectionState(False, "no server answers", 1, datetime.now(UTC)))
    assert "last report 0:01:0" in shown
    assert "reconnecting, as of " in shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, ""), (0, ""), (9.9, ""), (10, "last report 0:00:10 ago"), (90_000, "last report 1 day, 1:00:00 ago")],
)
def test_quiet_words__of_a_job_that_reported_so_long_ago(seconds: float, words: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert quiet_words(snapshot(1), now) == words


def test_bar__fits_a_narrow_terminal() -> None:
    facts = {"current": 2_000_000, "total": 8_000_000, "unit": "bytes", "rate": 1e6, "eta_seconds": 6}
    assert len(bar(snapshot(1, metadata=facts, message="long " * 50), width=60).splitlines()) == 3


def test_lines__one_for_each_change_of_status_or_stage() -> None:
    first, second = {"stage": "one"}, {"stage": "two"}
    shown = lines(
        snapshot(1, "queued", progress=0.0),
        progress(2, metadata=first, message="begins"),
        progress(3, metadata=first, message="goes on"),
        progress(4, metadata=second, progress=50.0),
        log(5, "a\nb", level="warning"),
        progress(6, "completed", progress=100.0, message="Done", metadata=second),
    )
    assert shown == [
        "queued · 0 %",
        "in progress · 10 % · one · begins",
        "in progress · 50 % · two",
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


def test_bar__says_that_nobody_answers_a_cancellation() -> None:
    facts = {"cancel_requested": True, "cancel_unanswered": True, "current": 2, "total": 8, "unit": "files"}
    shown = bar(snapshot(1, metadata=facts))
    assert "cancelling — the worker has not answered" in shown
    assert len(bar(snapshot(1, metadata=facts), width=60).splitlines()) == 3


def test_json__is_one_frame_a_line() -> None:
    output = io.StringIO()
    display = JsonDisplay(output)
    frames = [snapshot(1, message="a\nb"), log(2)]
    for frame in frames:
        display.frame_received(frame)
    display.state_changed(ConnectionState(False))
    assert [json.loads(line) for line in output.getvalue().splitlines()] == frames


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, ""),
        ({"current": 3}, "3"),
        ({"current": 3, "total": 4, "unit": "files"}, "3 files of 4 files"),
        ({"rate": 0.25, "unit": "files"}, "0.2 files/s"),
        ({"eta_seconds": 3725.4}, "1:02:05 left"),
        ({"current": "a", "total": 4, "rate": [], "eta_seconds": None, "unit": {}}, ""),
        ({"current": 3, "total": "b", "rate": -1, "eta_seconds": 1e17, "unit": 5}, "3 5"),
        ({"current": 10**400, "total": 10**400, "rate": 10**400, "eta_seconds": 10**400}, ""),
    ],
)
def test_amounts__say_what_is_known(facts: dict[str, Any], words: str) -> None:
    assert amounts(progress(1, metadata=facts)) == words


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


def test_plain__leaves_nothing_that_controls_a_terminal() -> None:
    assert plain("a\x1b]0;title\x07\r\nb\u202ec\tü") == "a ]0;title   b c ü"
