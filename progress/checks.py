"""Checks at start that every ``PROGRESS_*`` setting is known, of its type and sensible."""

import difflib
import sys
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from progress.conf import PREFIX, conf, types


@register()
def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the settings."""
    known = types()
    found = [name.removeprefix(PREFIX) for name in dir(settings) if name.startswith(PREFIX)]
    problems: list[CheckMessage] = [_unknown(name, list(known)) for name in found if name not in known]
    return problems + [problem for name, kind in known.items() if (problem := _wrong(name, kind))]


def _unknown(name: str, known: list[str]) -> Error:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {PREFIX}{close[0]}?" if close else "See docs/settings.md for those there are."
    return Error(f"There is no setting {PREFIX}{name}.", hint=hint, id="progress.E001")


def _wrong(name: str, kind: type) -> Error | None:
    value = getattr(conf, name)
    is_number = isinstance(value, int) or (kind is float and isinstance(value, float))
    if isinstance(value, bool) or not is_number or not 0 < value <= sys.maxsize:  # NaN is not between any two
        words = "a whole number" if kind is int else "a number"
        return Error(f"{PREFIX}{name} must be {words} above 0, not {value!r}.", id="progress.E002")
    return None
