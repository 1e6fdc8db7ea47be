"""What is said at start about wrong settings."""

import math

import pytest

from progress.checks import check_settings


def test_check_settings__the_defaults_are_good():
    assert check_settings() == []


@pytest.mark.parametrize(
    "value", ["25", None, True, 0, -1, math.nan, math.inf, [], 10**400], ids=lambda value: f"{value!r:.20}"
)
def test_check_settings__bad_number(settings, value):
    settings.PROGRESS_HEARTBEAT_SECONDS = value
    (problem,) = check_settings()
    assert problem.id == "progress.E002"
    assert "PROGRESS_HEARTBEAT_SECONDS must be a number above 0" in problem.msg


@pytest.mark.parametrize("value", [1.5, "256", None, False, 0, -3], ids=repr)
def test_check_settings__bad_whole_number(settings, value):
    settings.PROGRESS_RING_EVENTS = value
    (problem,) = check_settings()
    assert "PROGRESS_RING_EVENTS must be a whole number above 0" in problem.msg


def test_check_settings__a_whole_number_is_a_number(settings):
    settings.PROGRESS_HEARTBEAT_SECONDS = 10
    assert check_settings() == []


def test_check_settings__unknown_name_with_a_suggestion(settings):
    settings.PROGRESS_HEARTBEAT_SECOND = 10
    (problem,) = check_settings()
    assert problem.id == "progress.E001"
    assert problem.hint == "Did you mean PROGRESS_HEARTBEAT_SECONDS?"


def test_check_settings__unknown_name_like_no_other(settings):
    settings.PROGRESS_XYZ = 1
    (problem,) = check_settings()
    assert "docs/settings.md" in problem.hint


def test_check_settings__tells_of_all_at_once(settings):
    settings.PROGRESS_XYZ = 1
    settings.PROGRESS_RING_EVENTS = 0
    settings.PROGRESS_SYNC_SECONDS = "x"
    assert len(check_settings()) == 3
