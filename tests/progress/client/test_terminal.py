import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from progress.client.connection import ConnectionState, ServerUnreachable, WatchRefused
from progress.client.server_clock import ServerClock
from progress.client.terminal import BarDisplay, Exit, JsonDisplay, LineDisplay, explain
from progress.client.timing import Told
from progress.client.words import CUT, amounts, left_in_words, plain, plain_output, quiet_words
from tests.progress.scripted_server import backscroll, log, output, progress, snapshot


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
    stream = io.StringIO()
    display = LineDisplay(stream)
    for frame in frames:
        display.frame_received(frame)
    return stream.getvalue().splitlines()


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


USUAL = {"runs": 12, "seconds": [220.0, 245.0, 270.0], "curve": [*range(3, 96, 3), 100]}
STALLED = {"since": "2026-01-01T00:02:00Z", "then": "leave"}
LEARNED = {
    "current": 30_512,
    "total": 50_000,
    "unit": "rows",
    "eta_seconds": 101,
    "time_left": {"low": 80, "high": 130},
}


def at(seconds: float, *frames: dict[str, Any], width: int = 120, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a bar that were given these frames, by the server's clock, five minutes off ours."""
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding), width=width, force_terminal=False)
    display = BarDisplay(console)
    told = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()
    clock = ServerClock()
    clock.hear({"type": "pong", "timestamp": told})
    display.state_changed(ConnectionState(True, clock=clock))
    for frame in frames:
        display.frame_received(frame)
    with console.capture() as capture:
        console.print(display.render())
    return [line.rstrip() for line in capture.get().splitlines()]


def learned(seq: int = 1, **fields: Any) -> dict[str, Any]:
    known = {"started_at": "2026-01-01T00:00:00Z", "timestamp": "2026-01-01T00:02:00Z", "usual": USUAL}
    return snapshot(seq, **{"progress": 61.0, "max_silence": 30, "metadata": LEARNED, **known, **fields})


def test_bar__time_left_that_is_learned_with_what_earlier_runs_took() -> None:
    title, line, activity = at(122, learned(message="row 7"))
    assert title == "Import  job-1"
    assert line.endswith("61 %  1:40 left  30,512 of 50,000 rows")
    assert "━" * 19 + "┃" + "━" * 4 + "─" in line, "at 48 % of 40, while it is at 61 %"
    assert activity == "the last 12 runs took 3:40–4:30  row 7"


def test_bar__of_ascii_alone() -> None:
    line = at(122, learned(), encoding="ascii")[1]
    assert "#" * 19 + "|" + "#" * 4 + "-" * 16 in line


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_bar__never_cuts_the_percentage_nor_the_time_left(width: int) -> None:
    lines = at(122, learned(message="long " * 50), width=width)
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    assert "61 %  1:40 left" in lines[1]
    assert "61 %  no report for 34 s" in at(154, learned(), width=width)[1]
    again = at(154, learned(metadata={**LEARNED, "attempt": 2, "stalled": STALLED}), width=width)
    assert again[1].startswith("stalled (attempt 2)  ")
    assert "61 %  no report for 34 s" in again[1]


def test_bar__job_that_says_nothing_for_longer_than_its_kind_may() -> None:
    assert "1:10 left" in at(149, learned())[1]
    told = at(154, learned())
    assert "in progress" in told[1]
    assert "no report for 34 s" in told[1]
    assert "left" not in told[1]
    assert "last report" not in "".join(told)


def test_bar__log_line_is_a_report() -> None:
    heard = log(2, timestamp="2026-01-01T00:02:10Z")
    assert "no report" not in "".join(at(149, learned(), heard))
    assert "no report for 30 s" in "".join(at(160, learned(), heard))


def test_bar__longer_than_usual_in_place_of_the_time_left() -> None:
    assert "longer than usual" in at(271, learned(timestamp="2026-01-01T00:04:30Z"))[1]


def test_bar__stalled_says_since_when_and_what_will_happen() -> None:
    lines = at(154, learned(metadata={**LEARNED, "rate": 9, "stalled": STALLED}))
    assert lines[1].startswith("stalled  ")
    assert "no report for 34 s" in lines[1]
    assert "rows/s" not in lines[1]
    assert lines[3] == "If the worker stays silent, nothing is done by itself."
    assert "stalled" not in "".join(at(155, learned(metadata={**LEARNED, "stalled": STALLED}), learned(2)))


def test_bar__event_keeps_what_the_snapshot_said() -> None:
    after = progress(2, progress=62.0, timestamp="2026-01-01T00:02:01Z", metadata={**LEARNED, "attempt": 1})
    before = learned(metadata={**LEARNED, "attempt": 1})
    assert "the last 12 runs took" in at(122, before, after)[2]
    assert "the last 12 runs took" not in at(122, before, after | {"metadata": {"attempt": 2}})[2]


def test_bar__lost_connection_leaves_no_time_left() -> None:
    shown = bar(learned(), state=ConnectionState(False, "no server answers", 1, datetime.now(UTC)))
    assert "reconnecting" in shown
    assert " left" not in shown


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


def test_bar__fits_a_narrow_terminal() -> None:
    facts = {"current": 2_000_000, "total": 8_000_000, "unit": "bytes", "rate": 1e6, "eta_seconds": 6}
    assert len(bar(snapshot(1, metadata=facts, message="long " * 50), width=60).splitlines()) == 3


def test_lines__output_is_as_it_came_and_controls_nothing() -> None:
    shown = lines(
        backscroll(cut=["output"]),
        output(1, "Hel"),
        output(2, "lo\n\tin"),
        snapshot(2, "in_progress", progress=None),
        output(3, "\x1b[2Jwo\r\x9brld", cut=True),
    )
    assert shown == ["… earlier output is left out", "Hello", "\tin", "in progress", " [2Jwo  rld", CUT]


def test_bar__output_is_printed_by_lines_above_it() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    with BarDisplay(console) as display:
        for frame in (output(1, "one\ntw"), snapshot(1), output(2, "o\n[b]three\x1b"), output(3, "x" * 2_000)):
            display.frame_received(frame)
        display.frame_received(output(4, "end"))
        with console.capture() as capture:
            console.print(display.render())
        assert "end" in capture.get(), "what is not a whole line yet"
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert printed.startswith("one\ntwo\n[b]three \nxxx")
    assert "\nend\n" in printed


def test_plain_output__keeps_lines_and_tabs() -> None:
    assert (
        plain_output("a\tb\n" + "".join(map(chr, range(32))) + "\x7f\u202e") == "a\tb\n" + " " * 9 + "\t\n" + " " * 23
    )


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
        ({"current": 3, "total": 4, "unit": "files"}, "3 of 4 files"),
        ({"rate": 0.25, "unit": "files"}, "0.2 files/s"),
        ({"rate": 0.25, "unit": "files", "stalled": {"then": "leave"}}, ""),
        ({"current": "a", "total": 4, "rate": [], "unit": {}}, ""),
        ({"current": 3, "total": "b", "rate": -1, "unit": 5}, "3 5"),
        ({"current": 10**400, "total": 10**400, "rate": 10**400}, ""),
    ],
)
def test_amounts__say_what_is_known(facts: dict[str, Any], words: str) -> None:
    assert amounts(progress(1, metadata=facts)) == words


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Told(), ""),
        (Told(seconds_left=3725.4), "1:02:05 left"),
        (Told(seconds_left=1e17), ""),
        (Told(left="about 4 min"), "about 4 min"),
        (Told(silence="no report for 34 s"), "no report for 34 s"),
    ],
)
def test_left_in_words__or_what_is_said_in_its_place(told: Told, words: str) -> None:
    assert left_in_words(told) == words


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
