"""How far a client has followed a job."""

from typing import NamedTuple

MAX_SEQ = 2**63 - 1


class Position(NamedTuple):
    """How far a client has followed a job: the stream and the last event of it."""

    epoch: str
    seq: int
