"""A job's facts in words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from progress.client.timing import Told
from progress.client.words import amounts, left_in_words, plain, plain_output, quiet_words
from tests.progress.scripted_server import progress, snapshot


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, ""), (0, ""), (9.9, ""), (10, "last report 0:00:10 ago"), (90_000, "last report 1 day, 1:00:00 ago")],
)
def test_quiet_words__of_a_job_that_reported_so_long_ago(seconds: float, words: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert quiet_words(snapshot(1), now) == words


def test_plain_output__keeps_lines_and_tabs() -> None:
    assert (
        plain_output("a\tb\n" + "".join(map(chr, range(32))) + "\x7f\u202e") == "a\tb\n" + " " * 9 + "\t\n" + " " * 23
    )


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


def test_plain__leaves_nothing_that_controls_a_terminal() -> None:
    assert plain("a\x1b]0;title\x07\r\nb\u202ec\tü") == "a ]0;title   b c ü"
