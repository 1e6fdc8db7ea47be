"""The bounds of what a caller may store, checked before anything is written."""

import json
import math
import re
from typing import Any

from jobs.exceptions import InvalidValue

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_NAME = 200  # characters
MAX_MESSAGE = 2_000  # characters
MAX_STAGE = 200  # characters
MAX_ERROR = 10_000  # characters; longer errors are cut, since a failing job must be able to say so
MAX_METADATA = 16 * 1024  # bytes of JSON in UTF-8

# Keys of an event's metadata that the lifecycle fills in.
RESERVED = frozenset({"current", "total", "rate", "eta_seconds", "attempt", "error", "result", "cancel_requested"})


def is_job_id(value: object) -> bool:
    """Tell whether a value is a well-formed job id."""
    return isinstance(value, str) and JOB_ID.fullmatch(value) is not None


def job_id(value: str) -> str:
    """Return a job id unchanged.

    Raises:
        InvalidValue: It is not 1–64 of ``A-Za-z0-9._-``, beginning with a letter or digit.

    """
    if not is_job_id(value):
        raise InvalidValue(
            f"{_shown(value)} is no job id: use 1 to 64 of letters, digits, '.', '_', '-', "
            "beginning with a letter or digit."
        )
    return value


def text(value: str, what: str, longest: int) -> str:
    """Return a text unchanged.

    Raises:
        InvalidValue: It is no string, too long, or holds what a database can't store.

    """
    if not isinstance(value, str):
        raise InvalidValue(f"The {what} must be a string, not {type(value).__name__}.")
    if len(value) > longest:
        raise InvalidValue(f"The {what} has {len(value):,} characters; at most {longest:,} are allowed.")
    if "\x00" in value:
        raise InvalidValue(f"The {what} holds a NUL character, which databases can't store.")
    if not value.isascii():
        _require_utf8(value, what)
    return value


def number(value: float, what: str, highest: float = math.inf) -> float:
    """Return a finite number from 0 to ``highest``; an ``int`` stays one.

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
    if not finite or not 0 <= checked <= highest:
        bounds = "0 or more" if highest == math.inf else f"from 0 to {highest:g}"
        raise InvalidValue(f"The {what} must be a finite number, {bounds}, not {_shown(value)}.")
    return checked


def json_value(value: Any, what: str) -> Any:
    """Return a value as JSON will give it back.

    Raises:
        InvalidValue: It is not JSON, or takes more than 16 KiB as JSON.

    """
    try:
        encoded = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"The {what} can't be stored as JSON: {error}.") from None
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
