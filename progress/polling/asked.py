"""What a request asks for, by its URL."""

import re
from typing import NamedTuple
from urllib.parse import parse_qs

from ..protocol.commands import invalid
from ..protocol.position import MAX_SEQ, Position
from ..source.vocabulary import EventKind, is_job_id
from .refusals import invalid_window, job_not_found

MOST_PARAMETERS = 16
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")  # each in one form only, as caches compare URLs
EPOCH = re.compile(r"[A-Za-z0-9_-]{1,64}")
CLIENT = re.compile(r"[A-Za-z0-9_-]{16,64}")
EXTRAS = {"logs": EventKind.LOG, "output": EventKind.OUTPUT}


class Asked(NamedTuple):
    """What a request asks for.

    Args:
        job_id: The job.
        since: After which event; None for the snapshot.
        wave: To the end of which window it waits; None if not at all.
        wants: Which extras, such as log lines.

    """

    job_id: str
    since: Position | None
    wave: int | None
    wants: frozenset[EventKind]


def asked_by(path: str, query: str) -> Asked:
    """Return what a URL asks for.

    Args:
        path: ``<job>`` or ``<job>/<epoch>/<seq>``.
        query: Its query. Parameters that are not known say nothing: they are for who must get past a cache.

    Raises:
        Refused: It is none of ours.

    """
    job_id, *position = path.split("/")
    if not is_job_id(job_id):
        raise job_not_found()
    if len(position) not in (0, 2):
        raise invalid("The URL ends in a job, or in job, epoch and seq")
    try:
        parameters = parse_qs(query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError as error:
        raise invalid(f"A query may have {MOST_PARAMETERS} parameters") from error
    since = _position(*position) if position else None
    wants = frozenset(kind for name, kind in EXTRAS.items() if _flag(parameters.get(name, ["0"])))
    wave = _wave(parameters["wave"]) if "wave" in parameters else None
    if since is None and (wants or wave is not None):
        raise invalid("A snapshot has no wave, logs or output; ask for these after a position")
    return Asked(job_id, since, wave, wants)


def client_of(path: str) -> tuple[str, str]:
    """Split the path of a private URL into the client's own part, which only keeps URLs apart, and what it asks for.

    Raises:
        Refused: The client's part is missing, or could be another's.

    """
    client, _, rest = path.partition("/")
    if not CLIENT.fullmatch(client):
        sentence = "A private URL begins with 16 to 64 random letters, digits, - or _, other ones for each client"
        raise invalid(sentence)
    return client, rest


def _position(epoch: str, seq: str) -> Position:
    if not EPOCH.fullmatch(epoch) or not NUMBER.fullmatch(seq) or int(seq) > MAX_SEQ:
        raise invalid("A position is an epoch and a seq, as an answer gives them")
    return Position(epoch, int(seq))


def _wave(values: list[str]) -> int:
    if len(values) != 1 or not NUMBER.fullmatch(values[0]):
        raise invalid_window("A wave is a whole number, as an answer gives it")
    return int(values[0])


def _flag(values: list[str]) -> bool:
    if values not in (["0"], ["1"]):
        raise invalid("logs and output are 0 or 1")
    return values == ["1"]
