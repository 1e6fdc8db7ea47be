"""What a request is answered from the log, at once: read in a thread, each time with who may see it now."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..delivery.window import is_whole
from ..identity.rights import Rights, may_view
from ..protocol.frames import Frame, event_frame, event_text, job_about, job_state, snapshot
from ..protocol.position import Position
from ..source.store import UNAVAILABLE, Span, selectors
from ..source.vocabulary import TERMINAL
from .asked import Asked
from .pieces import Piece, page_end, piece_of
from .refusals import job_not_found, position_gone, unavailable

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

logger = logging.getLogger(__name__)


def read(asked: Asked, rights: Rights) -> Piece:
    """Return the snapshot, or what follows a position, of a job that a client may see.

    Raises:
        Refused: There is no such job, it is not for this client, the position is of another stream, ahead of the log
            or before what is kept, or the job can't be shown.
        Error: The database does not answer.

    """
    row = next(iter(selectors.get_jobs([asked.job_id])), None)
    try:
        is_seen = may_view(rights, row)
    except UNAVAILABLE:
        raise
    except Exception as error:
        logger.warning("The access policy can't decide on job %s: %r", asked.job_id, error)
        raise unavailable() from error
    if row is None or not is_seen:
        raise job_not_found()
    if asked.since is None:
        return _snapshot(row)
    # What is read below was committed before the row was read, on which the policy has decided.
    if asked.since.epoch != row.epoch or asked.since.seq > row.seq:
        raise position_gone()
    upto = min(page_end(asked.since.seq), row.seq)
    events = _events(asked.job_id, Span(row.epoch, asked.since.seq, upto))
    if not is_whole(events, asked.since.seq, upto):
        raise position_gone()
    return piece_of(asked.since, events, asked.wants, is_end=row.status in TERMINAL and upto == row.seq)


def _snapshot(row: "ProcessingJob") -> Piece:
    position = Position(row.epoch, row.seq)
    try:
        frame = snapshot(job_state(row), about=job_about(row), position=position, recovered=False)
    except ValueError as error:
        logger.warning("Job %s can't be shown: %r", row.pk, error)
        raise unavailable() from error
    return Piece(position, [frame], is_whole=False, is_end=row.status in TERMINAL, is_empty=True)


def _events(job_id: str, span: Span) -> Sequence[Frame]:
    """Return the events of a span that are kept, up to the first that can't be shown."""
    frames: list[Frame] = []
    if span.after == span.upto:
        return frames
    try:
        for stored in selectors.events_between({job_id: span})[job_id]:
            event = stored.as_event(span.epoch)
            frames.append(event_frame(job_id, event.seq, event.kind, event_text(event), span.epoch))
    except UNAVAILABLE:
        raise
    except Exception as error:  # as of a row that other code than ours has written
        logger.warning("An event of job %s can't be shown: %r", job_id, error)
    return frames
