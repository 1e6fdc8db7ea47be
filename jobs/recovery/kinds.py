"""The setting ``JOBS_KINDS``: what becomes of a kind's jobs whose worker is lost, and how long they may say nothing."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from ..number_settings import is_number

REQUEUE, FAIL, LEAVE = "requeue", "fail", "leave"
RECOVERIES = (REQUEUE, FAIL, LEAVE)
ATTEMPTS = 1, 1_000
SILENCES = 1, 31_536_000  # seconds: a year


class Options(NamedTuple):
    """The options of a kind."""

    recovery: str = FAIL  # and not to requeue: what is done twice may do harm, which only its author can rule out
    attempts: int = 3  # in all, if it is requeued; then it fails
    max_silence: float | None = None  # seconds without a report


VALID: dict[str, tuple[Callable[[Any], bool], str]] = {
    "recovery": (lambda value: isinstance(value, str) and value in RECOVERIES, "one of 'requeue', 'fail', 'leave'"),
    "attempts": (lambda value: is_number(value, int, *ATTEMPTS), "a whole number from {:,} to {:,}".format(*ATTEMPTS)),
    "max_silence": (lambda value: is_number(value, float, *SILENCES), "a number from {:,} to {:,}".format(*SILENCES)),
}


def options_of(kind: str) -> Options:
    """Return the options of a kind: each of the most specific name that gives it, else the default.

    An option that is invalid is taken for one that is not given: the check at start has said so.
    """
    given: Any = getattr(settings, "JOBS_KINDS", {})
    if not given or not isinstance(given, dict):
        return Options()
    found: dict[str, Any] = {}
    for name in sorted(filter(lambda name: _fits(name, kind), given), key=_specificity):
        options = given[name] if isinstance(given[name], dict) else {}
        found |= {option: value for option, value in options.items() if option in VALID and VALID[option][0](value)}
    return Options(**found)


def _fits(name: Any, kind: str) -> bool:
    return isinstance(name, str) and (kind.startswith(name[:-1]) if name.endswith("*") else kind == name)


def _specificity(name: str) -> tuple[bool, int]:
    return not name.endswith("*"), len(name)


@register()
def check_kinds(**_: object) -> list[CheckMessage]:
    """Check at start that the setting says what there is."""
    return [Error(f"JOBS_KINDS{words}", id="jobs.E014") for words in _problems(getattr(settings, "JOBS_KINDS", {}))]


def _problems(given: Any) -> Iterator[str]:
    if not isinstance(given, dict):
        yield f" = {given!r:.50} must be a dictionary of options by the names of kinds."
        return
    for name, options in given.items():
        if not isinstance(name, str) or not isinstance(options, dict):
            yield f"[{name!r:.50}] = {options!r:.50} must be a dictionary of options, under the name of a kind."
            continue
        for option, value in options.items():
            if option not in VALID:
                yield f"[{name!r:.50}] has the option {option!r:.50}; there are {', '.join(map(repr, VALID))}."
            elif not VALID[option][0](value):
                yield f"[{name!r:.50}][{option!r}] = {value!r:.50} must be {VALID[option][1]}."
