"""A reporter of another process, and what listens to it: both in this one, and without a database."""

from collections.abc import Iterator

import pytest

from jobs.reporting import link as linking
from jobs.reporting import listener as listening
from jobs.reporting.listener import Listener
from jobs.reporting.notes import Notes
from jobs.reporting.remote import RemoteReporter
from tests.jobs.reporting.remote.reported import OVER


@pytest.fixture
def notes() -> Notes:
    return Notes("job-1")


@pytest.fixture
def listener(notes: Notes) -> Iterator[Listener]:
    made = Listener(notes)
    yield made
    made.close(OVER)


@pytest.fixture
def report(listener: Listener) -> RemoteReporter:
    return RemoteReporter(listener.address, listener.token, "job-1")


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    words: list[str] = []
    for module in (linking, listening):
        monkeypatch.setattr(module.logger, "warning", lambda text, *arguments: words.append(text % arguments))
    return words
