"""One frame of each type, as the builders make it."""

import json
from datetime import UTC, datetime
from typing import Any

from jobs.events import Event
from jobs.models import ProcessingJob
from jobs.states import EventKind
from progress.protocol.codes import ErrorCode
from progress.protocol.exceptions import Refused
from progress.protocol.frames import (
    authenticated,
    encode,
    error,
    event_text,
    feed,
    feed_entry,
    heartbeat,
    job_state,
    pong,
    snapshot,
    unsubscribed,
)
from progress.protocol.position import Position

AT = datetime(2026, 1, 1, tzinfo=UTC)


def event(kind: EventKind = EventKind.TICK, **fields: Any) -> Event:
    values: dict[str, Any] = {
        "job_id": "job-123",
        "epoch": "e1",
        "seq": 17,
        "kind": kind,
        "status": "in_progress",
        "progress": 75.0,
        "message": "Processing stage 3",
        "metadata": {"level": "warning"} if kind is EventKind.LOG else {"stage": "stage_3", "attempt": 1},
        "timestamp": AT,
    }
    return Event(**{**values, **fields})


def a_job() -> ProcessingJob:
    return ProcessingJob(
        id="job-123", name="Import", seq=2, epoch="e1", metadata={"attempt": 1}, created_at=AT, updated_at=AT
    )


def built() -> dict[str, Any]:
    answer = snapshot(job_state(a_job()), about={"name": "Import"}, position=Position("e1", 2), recovered=False)
    refused = Refused(ErrorCode.JOB_NOT_FOUND, "Job not found", subject="job-123")
    texts = [
        event_text(event()),
        event_text(event(EventKind.LOG)),
        answer.text,
        feed("all", [encode(feed_entry(a_job()))]).text,
        pong().text,
        heartbeat().text,
        unsubscribed("job-123").text,
        authenticated(AT).text,
        error(refused).text,
    ]
    frames = [json.loads(text) for text in texts]
    return {frame["type"]: frame for frame in frames}
