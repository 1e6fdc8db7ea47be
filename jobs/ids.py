"""Makes the names that jobs and their streams get."""

import secrets

import uuid6


def new_job_id() -> str:
    """Return a new job id: a UUIDv7 in hexadecimal, so that ids sort by the time they were made."""
    return uuid6.uuid7().hex


def new_epoch() -> str:
    """Return the name of a new stream of events, which no earlier stream had."""
    return secrets.token_hex(8)
