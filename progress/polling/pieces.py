"""A piece of a job's log, as an answer holds it: from a position to the end of its page, or to where the job stands."""

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..delivery.chunks import visible
from ..delivery.pages import PAGE_EVENTS
from ..protocol.frames import Frame
from ..protocol.position import Position

PIECE_BYTES = 1_048_576  # of frames, but for a single one: also of long events nobody has more in memory


class Piece(NamedTuple):
    """What follows a position.

    Args:
        reached: Up to where it goes: the position to ask for next.
        frames: What the client is to see of that, as on a socket.
        is_whole: Whether it goes to the end of its page, so that it will always be the same.
        is_end: Whether the job has ended there; a failed or cancelled one may be tried again.
        is_empty: Whether there is nothing new.

    """

    reached: Position
    frames: Sequence[Frame]
    is_whole: bool
    is_end: bool
    is_empty: bool


def page_end(seq: int) -> int:
    """Return the last event of the page that the event after ``seq`` is in."""
    return seq - seq % PAGE_EVENTS + PAGE_EVENTS


def piece_of(since: Position, events: Sequence[Frame], wants: Collection[str], *, is_end: bool) -> Piece:
    """Return the piece that begins after a position.

    It ends where its page does, or before an event with which it would be too long: the same for whoever asks.

    Args:
        since: The position.
        events: Every event after it, to where the job stands or further than the piece.
        wants: Which extras are to be seen.
        is_end: Whether the job has ended where it stands.

    """
    room, size, is_whole = page_end(since.seq) - since.seq, 0, False
    taken: list[Frame] = []
    for frame in events:
        size += len(frame.payload)
        if len(taken) == room or (taken and size > PIECE_BYTES):
            is_whole = True
            break
        taken.append(frame)
    is_whole = is_whole or len(taken) == room
    reached = Position(since.epoch, since.seq + len(taken))
    return Piece(reached, visible(taken, wants), is_whole, is_end and not is_whole, not taken)


def body_of(piece: Piece, wave: int | None) -> bytes:
    """Return the body of the answer that holds a piece: its frames as a socket carries them, byte for byte.

    Args:
        piece: The piece.
        wave: The window to ask for next; None of a whole page, which is the same for good, and where nobody can wait.

    """
    known = {"epoch": piece.reached.epoch, "seq": piece.reached.seq, "wave": wave, "end": piece.is_end}
    begin = json.dumps(known, separators=(",", ":"))[:-1].encode()
    return begin + b',"events":[' + b",".join(frame.payload for frame in piece.frames) + b"]}\n"
