"""What a kind's options are, and what the check says of those that make no sense."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from jobs.recovery.kinds import Options, options_of

KINDS = {
    "*": {"max_silence": 300},
    "images.*": {"recovery": "requeue", "max_silence": 60},
    "images.large.*": {"attempts": 5},
    "images.large.resize": {"recovery": "leave"},
}

pytestmark = pytest.mark.django_db  # which the checks of Django 6 ask


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("", Options("fail", 3, 300)),
        ("import", Options("fail", 3, 300)),
        ("images.resize", Options("requeue", 3, 60)),
        ("images", Options("fail", 3, 300)),
        ("images.large.crop", Options("requeue", 5, 60)),
        ("images.large.resize", Options("leave", 5, 60)),
    ],
)
def test_options__each_of_the_most_specific_name_that_gives_it(kind: str, expected: Options) -> None:
    with override_settings(JOBS_KINDS=KINDS):
        assert options_of(kind) == expected


def test_options__without_the_setting_are_the_defaults() -> None:
    """A job whose worker is lost fails: to run it twice may do harm."""
    assert options_of("any") == Options("fail", 3, None)


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["images"], "must be a dictionary of options by the names of kinds"),
        ({"images": "requeue"}, "must be a dictionary of options, under the name of a kind"),
        ({7: {}}, "under the name of a kind"),
        (
            {"images": {"recovery": "restart"}},
            "['images']['recovery'] = 'restart' must be one of 'requeue', 'fail', 'leave'",
        ),
        ({"images": {"recovery": []}}, "must be one of"),
        ({"images": {"attempts": 0}}, "['images']['attempts'] = 0 must be a whole number from 1 to 1,000"),
        ({"images": {"attempts": 2.5}}, "a whole number"),
        ({"images": {"max_silence": "60"}}, "must be a number from 1 to 31,536,000"),
        ({"images": {"max_silence": 0.5}}, "must be a number from 1"),
        ({"images": {"recover": "fail"}}, "has the option 'recover'; there are 'recovery', 'attempts', 'max_silence'"),
    ],
)
def test_check__says_what_is_wrong_and_it_counts_as_not_given(kinds: Any, words: str) -> None:
    with override_settings(JOBS_KINDS=kinds):
        (problem,) = [each for each in run_checks() if each.id == "jobs.E014"]
        assert options_of("images") == Options()
    assert problem.msg.startswith("JOBS_KINDS")
    assert words in problem.msg


def test_check__finds_nothing_in_what_makes_sense() -> None:
    with override_settings(JOBS_KINDS=KINDS):
        assert "jobs.E014" not in [each.id for each in run_checks()]
