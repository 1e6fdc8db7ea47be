"""The bar of a job in a terminal."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from progress.client.connection import ConnectionState
from progress.client.terminal import BarDisplay
from tests.progress.client.shown import LEARNED, STALLED, ago, at, bar, learned
from tests.progress.scripted_server import log, output, progress, snapshot


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


def test_bar__fits_a_narrow_terminal() -> None:
    facts = {"current": 2_000_000, "total": 8_000_000, "unit": "bytes", "rate": 1e6, "eta_seconds": 6}
    assert len(bar(snapshot(1, metadata=facts, message="long " * 50), width=60).splitlines()) == 3


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


def test_bar__says_that_nobody_answers_a_cancellation() -> None:
    facts = {"cancel_requested": True, "cancel_unanswered": True, "current": 2, "total": 8, "unit": "files"}
    shown = bar(snapshot(1, metadata=facts))
    assert "cancelling — the worker has not answered" in shown
    assert len(bar(snapshot(1, metadata=facts), width=60).splitlines()) == 3
