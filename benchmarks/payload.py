"""The event that every peer sends: one JSON text of a given length, made from its seq alone.

Since both sides can make it, the load client checks every byte of what it gets. Imports nothing of
the site, so that a peer without Django can use it.
"""

import json
from typing import Any

SIZE = 195  # bytes of text: a progress event with a stage and a short message
BURST = 4  # events that come at a time: a worker does not wait until those who watch have seen the last one
BASE = 2  # the seq before the first event: the job was made (1) and started (2)
JOB = "bench"
TIMESTAMP = "2026-01-01T00:00:00.000000Z"
COMPACT, SPACED = (",", ":"), (", ", ": ")  # the second is what `json.dumps`, and so Channels' send_json, does


def fields(seq: int, size: int = SIZE, separators: tuple[str, str] = COMPACT, job: str = JOB) -> dict[str, Any]:
    """Return the event of a job at ``seq``, with a message that fills it to ``size`` bytes."""
    event = {
        "type": "progress",
        "job_id": job,
        "status": "in_progress",
        "progress": seq % 1000 / 10,
        "message": "",
        "timestamp": TIMESTAMP,
        "metadata": {"stage": "s3"},
        "seq": seq,
    }
    event["message"] = "Item ".ljust(size - len(json.dumps(event, separators=separators)), ".")
    assert len(json.dumps(event, separators=separators)) == size, "too little room"
    return event


def text(event: dict[str, Any]) -> str:
    """Return an event as compact JSON."""
    return json.dumps(event, separators=COMPACT)
