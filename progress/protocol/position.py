"""How far a client has followed a job."""

from typing import NamedTuple

MAX_SEQ = 2**63 - 1


class Position(NamedTuple):
    """How far a client has followed a job: the epoch of the stream, and the seq of the last event."""

    epoch: str
    seq: int
