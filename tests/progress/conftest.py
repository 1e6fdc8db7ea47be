"""Fixtures of the tests of the progress app."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.progress.watching import LogLines


@pytest.fixture
def logged() -> Iterator[LogLines]:
    """What the site's own loggers say, from INFO up; they do not propagate to where ``caplog`` listens."""
    import progress_site.asgi  # noqa: F401  # its first import configures logging, and forgets other handlers

    lines = LogLines()
    loggers = [logging.getLogger(name) for name in ("progress", "jobs", "asyncio", "django", "channels")]
    for logger in loggers:
        logger.addHandler(lines)
    yield lines
    for logger in loggers:
        logger.removeHandler(lines)


@pytest.fixture
def unheard() -> Iterator[list[Any]]:
    """The committed events, of which no hub is told, and neither of deletions."""
    from jobs.signals import job_deleted, job_event_committed
    from progress.broker.publisher import publish, publish_deletion
    from progress.delivery.hubs import compare, deliver

    ours = {"progress.hub": deliver, "progress.publisher": publish}
    of_deletions = {"progress.hub": compare, "progress.publisher": publish_deletion}
    events: list[Any] = []

    def receive(event: Any, **_: Any) -> None:
        events.append(event)

    for name in ours:
        job_event_committed.disconnect(dispatch_uid=name)
        job_deleted.disconnect(dispatch_uid=name)
    job_event_committed.connect(receive)
    yield events
    job_event_committed.disconnect(receive)
    for name, receiver in ours.items():
        job_event_committed.connect(receiver, dispatch_uid=name)
    for name, receiver in of_deletions.items():
        job_deleted.connect(receiver, dispatch_uid=name)


@pytest.fixture
def no_sweep(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Nothing wakes the hub but a gap."""
    from progress.delivery.sqlite_changes import DataVersion

    settings.PROGRESS_SWEEP_SECONDS = settings.PROGRESS_SYNC_SECONDS = 1000
    monkeypatch.setattr(DataVersion, "of_database", lambda: None)
