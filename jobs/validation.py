"""The bounds of what a caller may store: checked before anything is written, or, for a `Reporter`, made to fit."""

import json
import logging
import math
import re
import uuid
from collections.abc import Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

from .exceptions import InvalidValue
from .ids import is_job_id

MAX_NAME = 200  # characters
MAX_KIND = 100  # characters
MAX_ACTOR = 255  # characters; longer names are cut
MAX_MESSAGE = MAX_LOG_LINE = 2_000  # characters
MAX_OUTPUT = 65_536  # characters of a chunk
MAX_STAGE = 200  # characters
MAX_STAGES = 100  # of a plan
MAX_ERROR = 10_000  # characters; longer errors are cut, since a failing job must be able to say so
MAX_METADATA = 16 * 1024  # bytes of JSON in UTF-8
MAX_COUNT = 1e18  # units: what is calculated from it stays finite
WEIGHTS_OF_CHILDREN = 1e-9, 1e9  # what a database makes of them stays a number
ROUNDING = 1e-9  # how far past a bound a sum of floats may be, as a part of it: 49 times 100/49 is more than 100

# Keys of an event's metadata that the lifecycle fills in.
RESERVED = frozenset(
    {"current", "total", "rate", "eta_seconds", "attempt", "error", "result", "cancel_requested", "cancel_unanswered"}
    | {"child_jobs", "time_left", "stalled", "worker_lost"}
)


def job_id(value: "str | uuid.UUID") -> str:
    """Return a job id as it is stored.

    Raises:
        InvalidValue: It is not 1–64 of ``A-Za-z0-9._-``, beginning with a letter or digit.

    """
    text = str(value) if isinstance(value, uuid.UUID) else value
    if not is_job_id(text):
        raise InvalidValue(
            f"{_shown(value)} is no job id: use 1 to 64 of letters, digits, '.', '_', '-', "
            "beginning with a letter or digit."
        )
    return text


def text(value: "str | Promise", what: str, longest: int) -> str:
    """Return a text, translated if it is to be.

    Raises:
        InvalidValue: It is no string, too long, or holds what a database can't store.

    """
    words = _translated(value)
    if not isinstance(words, str):
        raise InvalidValue(f"The {what} must be a string, not {type(value).__name__}.")
    if len(words) > longest:
        raise InvalidValue(f"The {what} has {len(words):,} characters; at most {longest:,} are allowed.")
    if "\x00" in words:
        raise InvalidValue(f"The {what} holds a NUL character, which databases can't store.")
    if not words.isascii():
        _require_utf8(words, what)
    return words


def log_level(level: str) -> str:
    """Return a level in lower case.

    Raises:
        InvalidValue: ``logging`` knows no level of this name.

    """
    if not isinstance(level, str) or level.upper() not in logging.getLevelNamesMapping():
        raise InvalidValue(f"{level!r:.80} is no log level; use debug, info, warning, error or critical.")
    return level.lower()


def stream_name(value: str) -> str:
    """Return the name of a stream of output.

    Raises:
        InvalidValue: It is not 1–64 of ``A-Za-z0-9._-``.

    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
        raise InvalidValue(f"{_shown(value)} is no name for output: use 1 to 64 of letters, digits, '.', '_', '-'.")
    return value


def number(value: float, what: str, highest: float = MAX_COUNT) -> float:
    """Return a finite number from 0 to ``highest``, within rounding; an ``int`` stays one.

    Raises:
        InvalidValue: It is no number, NaN, infinite, or out of bounds.

    """
    if isinstance(value, bool | str | bytes):  # which float() would take
        raise InvalidValue(f"The {what} must be a number, not {_shown(value)}.")
    try:
        checked = value if isinstance(value, int) else float(value)
        finite = math.isfinite(checked)
    except (TypeError, ValueError, OverflowError):
        raise InvalidValue(f"The {what} must be a number, not {_shown(value)}.") from None
    if not finite or not -ROUNDING <= checked <= highest * (1 + ROUNDING):
        raise InvalidValue(f"The {what} must be a finite number, from 0 to {highest:g}, not {_shown(value)}.")
    return min(max(checked, 0), highest)


def json_value(value: Any, what: str) -> Any:
    """Return a value as JSON will give it back.

    Raises:
        InvalidValue: It is not JSON, or takes more than 16 KiB as JSON.

    """
    try:
        encoded = json.dumps(value, allow_nan=False, ensure_ascii=False, cls=_Encoder)
    except Exception as error:  # whatever is raised by what a foreign object does when it is looked at
        raise InvalidValue(f"The {what} can't be stored as JSON: {in_words(error)}.") from None
    size = len(_require_utf8(encoded, what))
    if size > MAX_METADATA:
        raise InvalidValue(f"The {what} takes {size:,} bytes as JSON; at most {MAX_METADATA:,} are allowed.")
    if "\\u0000" in encoded and _has_nul(value):
        raise InvalidValue(f"The {what} holds a NUL character, which databases can't store.")
    return json.loads(encoded)


def metadata(value: dict[str, Any]) -> dict[str, Any]:
    """Return metadata as JSON will give it back.

    Raises:
        InvalidValue: It is no dictionary with free string keys, not JSON, or over 16 KiB.

    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InvalidValue("The metadata must be a dictionary whose keys are strings.")
    if taken := RESERVED & value.keys():
        raise InvalidValue(f"The metadata key {min(taken)!r} is filled in by the lifecycle; use another name.")
    if "stage" in value:
        text(value["stage"], "stage", MAX_STAGE)
    checked: dict[str, Any] = json_value(value, "metadata")
    return checked


def plan(value: "Mapping[str, float] | list[Any] | tuple[Any, ...]") -> list[list[Any]]:
    """Return the stages of a job with their weights, as they are stored: a list of ``[name, weight]``.

    Args:
        value: Weights by the names of stages; or a list of names, each of weight 1, and of pairs of name and weight.

    Raises:
        InvalidValue: It is neither, has more than 100 stages or one of them twice, a name is no stage's name, a weight
            is no finite number above 0, or it takes more than 16 KiB as JSON.

    """
    if not isinstance(value, Mapping | list | tuple):
        raise InvalidValue(f"The plan must be a mapping or a list of stages, not {_shown(value)}.")
    if len(value) > MAX_STAGES:
        raise InvalidValue(f"The plan has {len(value):,} stages; at most {MAX_STAGES} are allowed.")
    stages = [_planned(item) for item in (value.items() if isinstance(value, Mapping) else value)]
    names = [name for name, _ in stages]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InvalidValue(f"The plan has the stage {_shown(name)} twice.")
    checked: list[list[Any]] = json_value(stages, "plan")
    return checked


def _planned(item: Any) -> list[Any]:
    name, share = item if isinstance(item, list | tuple) and len(item) == 2 else (item, 1)
    checked_name = text(name, "name of a stage in the plan", MAX_STAGE)
    if not checked_name:
        raise InvalidValue("The plan has a stage without a name.")
    return [checked_name, weight(share, f"weight of the stage {_shown(checked_name)} in the plan")]


def weight(value: float, what: str) -> float:
    """Return a finite number above 0.

    Raises:
        InvalidValue: It is none.

    """
    checked = number(value, what)
    if checked <= 0:
        raise InvalidValue(f"The {what} must be above 0, not {_shown(value)}.")
    return checked


def weight_of_child(value: float) -> float:
    """Return a child's weight.

    Raises:
        InvalidValue: It is not within `WEIGHTS_OF_CHILDREN`.

    """
    least, most = WEIGHTS_OF_CHILDREN
    checked = float(weight(value, "weight"))
    if not least <= checked <= most:
        raise InvalidValue(f"The weight must be from {least:g} to {most:g}, not {_shown(value)}.")
    return checked


# For work that must not fail by what it says


def fitting_text(value: object, longest: int) -> str:
    """Return any value as a text that can be stored, cut with a visible mark."""
    words = in_words(value).replace("\x00", "�").encode(errors="replace").decode()
    return words if len(words) <= longest else words[: longest - 1] + "…"


def in_words(value: object) -> str:
    """Return ``str(value)``, or what type it is where that raises."""
    try:
        return str(value)
    except Exception:  # whatever a foreign __str__ raises
        return f"a value of type {type(value).__name__}"


class _Encoder(DjangoJSONEncoder):
    """Takes what Django's own encoder takes, and the scalars of numpy and its like."""

    def default(self, o: Any) -> Any:
        if getattr(o, "ndim", None) == 0 and callable(getattr(o, "item", None)):
            return o.item()
        return super().default(o)


def _translated(value: object) -> object:
    return str(value) if isinstance(value, Promise) else value


def _shown(value: object) -> str:
    """Return a wrong value for a message; not every one can be shown, such as an int of too many digits."""
    try:
        return f"{value!r:.80}"
    except Exception:  # whatever a foreign __repr__ raises
        return f"a value of type {type(value).__name__}"


def _require_utf8(value: str, what: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidValue(f"The {what} holds half of a surrogate pair, which is no character.") from None


def _has_nul(value: Any) -> bool:
    match value:
        case str():
            return "\x00" in value
        case dict():
            return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
        case list() | tuple():
            return any(map(_has_nul, value))
    return False
