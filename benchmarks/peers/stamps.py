"""Notes the time of each commit, before anything is published; in whatever process writes."""

import time
from typing import Any

from jobs.events import Event
from jobs.signals import job_event_committed
from progress.broker.publisher import publish

NAME = "progress.publisher"  # the signal's receiver, as the app connects it


def stamp_commits() -> list[float]:
    """Return a list that grows with each commit."""
    stamps: list[float] = []

    def note(sender: Any, event: Event, **_: Any) -> None:
        stamps.append(time.monotonic())
        publish(sender, event)

    job_event_committed.disconnect(dispatch_uid=NAME)
    job_event_committed.connect(note, dispatch_uid=NAME, weak=False)
    return stamps
