"""One frame of each type, as the builders make it."""

import json
from datetime import UTC, datetime
from typing import Any

from jobs.events import Event
from jobs.models import ProcessingJob
from jobs.states import EventKind
from progress.protocol import frames as protocol
from progress.protocol.codes import ErrorCode
from progress.protocol.exceptions import Refused
from progress.protocol.frames import Position

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
    snapshot = protocol.snapshot(
        protocol.job_state(a_job()), name="Import", position=Position("e1", 2), recovered=False
    )
    refused = Refused(ErrorCode.JOB_NOT_FOUND, "Job not found", subject="job-123")
    texts = [
        protocol.event_text(event()),
        protocol.event_text(event(EventKind.LOG)),
        snapshot.text,
        protocol.feed("all", [protocol.feed_entry(a_job())]).text,
        protocol.pong().text,
        protocol.heartbeat().text,
        protocol.unsubscribed("job-123").text,
        protocol.authenticated(AT).text,
        protocol.error(refused).text,
    ]
    frames = [json.loads(text) for text in texts]
    return {frame["type"]: frame for frame in frames}
