"""The names of the channel layer's groups, and the messages that travel through them."""

import json
import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..protocol.frames import event_text
from ..source.vocabulary import Event, EventKind, Status

logger = logging.getLogger(__name__)

# Groups and types have a prefix, since a host's consumers may share the layer. A consumer of the host's in a group of
# the same name would get our messages, for which it has no handler, and end with an error.
FEED_GROUP = "progress.feed"  # is sent the id of every job that is new or has changed its status
ACCESS_GROUP = "progress.access"  # is told that it is time to ask who may see what again
EVENTS = "progress.events"
CHANGED = "progress.changed"
DELETED = "progress.deleted"
ACCESS_CHANGED = "progress.access_changed"
OF_START = Status.QUEUED, Status.IN_PROGRESS


def job_group(job_id: str) -> str:
    """Return the group that the events of a job are sent to."""
    return f"progress.job.{job_id}"


class Publication(NamedTuple):
    """A committed event on its way through the channel layer, which may lose it: the log is the truth."""

    job_id: str
    epoch: str
    seq: int
    kind: str
    text: str

    @property
    def is_of_start(self) -> bool:
        """Whether it may be of a start, or of a new attempt: it is a change of status, and the job runs or waits."""
        return self.kind == EventKind.STATUS and json.loads(self.text)["status"] in OF_START


class Deletion(NamedTuple):
    """A job that was deleted, on its way. It only wakes: whether the job is gone, the database says."""

    job_id: str


def publication_of(event: Event) -> Publication:
    """Return a committed event, ready to travel."""
    return Publication(event.job_id, event.epoch, event.seq, event.kind, event_text(event))


def encoded(events: Iterable[Event]) -> list[Publication]:
    """Return committed events, ready to travel, without those that can't be encoded, which leave a gap."""
    publications = []
    for event in events:
        try:
            publications.append(publication_of(event))
        except Exception as error:  # whatever is wrong with an event, it harms no other
            logger.warning("Event %d of job %s can't be shown: %r", event.seq, event.job_id, error)
    return publications


def job_message(publications: list[Publication]) -> dict[str, Any]:
    """Return the message that carries events to a job's group."""
    return {"type": EVENTS, "events": [list(publication) for publication in publications]}


def deletion_message(deletion: Deletion) -> dict[str, Any]:
    """Return the message that tells a job's group of its end."""
    return {"type": DELETED, "job_id": deletion.job_id}


def feed_message(job_ids: list[str]) -> dict[str, Any]:
    """Return the message to the feeds' group that names jobs which have changed."""
    return {"type": CHANGED, "job_ids": job_ids}


def access_message() -> dict[str, Any]:
    """Return the message to the servers' group that has them ask again; whoever forges it learns and ends nothing."""
    return {"type": ACCESS_CHANGED}


def publications_of(message: dict[str, Any]) -> list[Publication]:
    """Return the events that a message to a job's group carries."""
    return [Publication(*event) for event in message["events"]]
