"""What is said at start about wrong settings."""

import math
import os
import subprocess
import sys
from typing import Any

import pytest

from progress.checks import BOUNDS, check_replay, check_settings
from progress.conf import types
from tests.installation import ROOT


def test_check_settings__the_defaults_are_good():
    assert check_settings() == []


@pytest.mark.parametrize(
    "value", ["25", None, True, 0, -1, math.nan, math.inf, [], 10**400], ids=lambda value: f"{value!r:.20}"
)
def test_check_settings__bad_number(settings, value):
    settings.PROGRESS_HEARTBEAT_SECONDS = value
    (problem,) = check_settings()
    assert problem.id == "progress.E002"
    assert "PROGRESS_HEARTBEAT_SECONDS must be a number from 0.1 to 600 (" in problem.msg


@pytest.mark.parametrize("value", [1.5, "256", None, False, 0, -3], ids=repr)
def test_check_settings__bad_whole_number(settings, value):
    settings.PROGRESS_RING_EVENTS = value
    (problem,) = check_settings()
    assert "PROGRESS_RING_EVENTS must be a whole number from 1 to 100,000 (" in problem.msg


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


def test_bounds__every_number_has_its_own():
    assert list(BOUNDS) == [name for name, kind in types().items() if kind in (int, float)]


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds__hold_at_both_ends(settings: Any, name: str) -> None:
    low, high, why = BOUNDS[name]
    for good in (low, high):
        setattr(settings, f"PROGRESS_{name}", good)
        assert check_settings() == []
    for bad in (low / 2 if low < 1 else low - 1, high + 1):
        setattr(settings, f"PROGRESS_{name}", bad)
        (problem,) = check_settings()
        assert name in problem.msg
        assert why in problem.msg


@pytest.mark.parametrize(
    ("value", "is_good"),
    [("660", True), ("0600", True), ("060", False), ("0o660", False), ("777 ", False), (0o660, False), ("", False)],
)
def test_check_settings__mode(settings: Any, value: Any, is_good: bool) -> None:
    settings.PROGRESS_UNIX_SOCKET_MODE = value
    assert (check_settings() == []) == is_good


@pytest.mark.parametrize(
    ("value", "is_good"),
    [
        ("", True),
        ("127.0.0.1", True),
        ("10.0.0.0/8, 2001:db8::/32,::1", True),
        ("10.0.0.1/8", False),
        ("proxy", False),
        ("*", False),
        (["10.0.0.1"], False),
        (None, False),
    ],
)
def test_check_settings__trusted_proxies(settings: Any, value: Any, is_good: bool) -> None:
    settings.PROGRESS_TRUSTED_PROXIES = value
    assert (check_settings() == []) == is_good


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
def test_start__on_a_server_that_sends_no_close_is_warned_of(server: str) -> None:
    start = f"import sys; sys.modules[{server!r}] = sys; import django; django.setup()"
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "progress_site.settings", "DJANGO_DEBUG": "1"}
    done = subprocess.run([sys.executable, "-c", start], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert ("WARNING progress.checks: granian sends no close" in done.stderr) == (server == "granian")


def test_check_replay__tells_of_a_log_that_is_shorter_than_a_replay(settings):
    assert check_replay() == []
    settings.PROGRESS_REPLAY_EVENTS = 5_500
    assert check_replay() == []
    settings.PROGRESS_REPLAY_EVENTS = 5_501
    (problem,) = check_replay()
    assert problem.id == "progress.W001"
    assert "JOBS_LOG_TAIL = 6,000 keeps less" in problem.msg
    settings.JOBS_LOG_TAIL = 6_001
    assert check_replay() == []
    settings.JOBS_LOG_TAIL = "6000"  # which another check tells of
    assert check_replay() == []
