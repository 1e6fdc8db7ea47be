"""The app's settings that are numbers: read when they are used, checked at start."""

from collections.abc import Callable
from typing import TypeVar

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

N = TypeVar("N", int, float)


def number_setting(name: str, default: N, low: float, high: float, error: str) -> Callable[[], N]:
    """Return what reads a setting; a check at start refuses what is no such number.

    Args:
        name: The setting.
        default: Its value where it is not set; whole, if it has to be.
        low: The lowest that makes sense.
        high: The highest.
        error: The id of the check's message.

    """

    def read() -> N:
        value: N = getattr(settings, name, default)
        return value

    @register()
    def check(**_: object) -> list[CheckMessage]:
        value, kind = read(), type(default)
        if is_number(value, kind, low, high):
            return []
        words = "a whole number" if kind is int else "a number"
        return [Error(f"{name} = {value!r:.50} must be {words} from {low:,} to {high:,}.", id=error)]

    return read


def is_number(value: object, kind: type, low: float, high: float) -> bool:
    """Return whether a value is a number within bounds: a whole one if ``kind`` is int. NaN is within no bounds."""
    is_of_kind = isinstance(value, int) or (kind is float and isinstance(value, float))
    return is_of_kind and not isinstance(value, bool) and low <= value <= high  # type: ignore[operator]  # it is one
