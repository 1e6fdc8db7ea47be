"""Positions as the ``id`` of a server-sent event: those of all jobs of the stream, so that a reconnect resumes each."""

from collections.abc import Iterable

from .commands import invalid, position
from .position import Position

MALFORMED = "A position is written epoch:seq; several, in the order of the jobs, with commas between them."


def event_id(positions: Iterable[Position | None]) -> str:
    """Return ``epoch:seq`` of each job, with commas between them; nothing for a job without a position."""
    return ",".join("" if each is None else f"{each.epoch}:{each.seq}" for each in positions)


def positions_of(text: str, count: int) -> list[Position | None]:
    """Return the positions of so many jobs, in the order of the URL; those of an empty text are not known.

    Raises:
        Refused: It is malformed, or has more or fewer positions.

    """
    parts = text.split(",") if text else [""] * count
    if len(parts) != count:
        raise invalid(MALFORMED)
    return [_position(part) if part else None for part in parts]


def _position(text: str) -> Position:
    epoch, _, seq = text.partition(":")
    # Longer numbers are not positions; int() is not tried on them, since it takes quadratic time.
    if not (epoch.isascii() and epoch.isalnum() and seq.isascii() and seq.isdecimal() and len(seq) < 20):
        raise invalid(MALFORMED)
    return position(epoch, int(seq))
