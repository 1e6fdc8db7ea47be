"""The names of jobs and of their streams."""

import re
import secrets

import uuid6

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BIRTH = 8  # the characters of an epoch that say which job it is, of all that ever had the same id


def is_job_id(value: object) -> bool:
    """Return whether a value is a well-formed job id."""
    return isinstance(value, str) and JOB_ID.fullmatch(value) is not None


def new_job_id() -> str:
    """Return a new job id: a UUIDv7 in hexadecimal, so that ids sort by the time they were made."""
    return uuid6.uuid7().hex


def new_epoch() -> str:
    """Return the name of a new stream of events, which no earlier stream had."""
    return secrets.token_hex(8)


def renewed(epoch: str) -> str:
    """Return the name of another stream of the same job, whose history was rewritten."""
    return epoch[:BIRTH] + new_epoch()[BIRTH:]


def birth(epoch: str) -> str:
    """Return which job an epoch is of: all streams of one job have this in common."""
    return epoch[:BIRTH]
