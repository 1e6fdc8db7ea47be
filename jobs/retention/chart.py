"""The course of an attempt as a picture: an SVG for pages, in words for those who don't see it.

Nothing in it needs an inline style, which a Content Security Policy may forbid; classes give it its colours.
"""

import logging
from collections.abc import Iterable, Sequence
from itertools import pairwise

from django.db import Error
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from ..models import ProcessingJob
from .curve import Point
from .runs import Run, curve_of, earlier_curves, present_run

logger = logging.getLogger(__name__)

FEWEST_EVENTS = 10  # of an attempt whose course says something
WIDTH, HEIGHT = 600, 100  # a percent is one unit high
MILESTONES = 25.0, 50.0, 75.0  # percent, named in words
EARLIER_SHOWN = 4  # attempts before the present one
NOTHING = SafeString("")


def course_chart(job: ProcessingJob) -> SafeString:
    """Return the picture of a job's present attempt; empty if there is nothing to see. At most five short queries.

    Raises:
        Error: The database does not answer.

    """
    try:
        return _chart(present_run(job), curve_of(job))
    except Error:
        raise
    except Exception as error:  # what an import has stored may be anything, and must not take the page with it
        logger.warning("The course of job %s can't be shown: %r", job.pk, error)
        return NOTHING


def earlier_charts(job: ProcessingJob) -> SafeString:
    """Return the pictures of the attempts before the present one, as far as they were kept, the last one first."""
    return _joined(_chart(run, points) for run, points in earlier_curves(job, EARLIER_SHOWN))


def _joined(parts: Iterable[SafeString]) -> SafeString:
    return mark_safe("".join(parts))  # noqa: S308  (each is safe)


def _chart(run: Run, points: Sequence[Point]) -> SafeString:
    seconds = points[-1][0] if points else 0
    if len(points) < 2 or seconds <= 0 or run.upto - run.after < FEWEST_EVENTS:
        return NOTHING
    line = " ".join(f"{WIDTH * at / seconds:.2f},{HEIGHT - percent:.2f}" for at, percent in points)
    return format_html(
        '<figure class="job-course"><svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        'aria-labelledby="course-{attempt}-title course-{attempt}-words">'
        '<title id="course-{attempt}-title">Progress of attempt {attempt} over time</title>'
        '<desc id="course-{attempt}-words">{words}</desc>'
        '<path class="job-course-grid" d="M0 25H{width}M0 50H{width}M0 75H{width}" vector-effect="non-scaling-stroke"/>'
        '<polygon class="job-course-area" points="0,{height} {line} {width},{height}"/>'
        '<polyline class="job-course-line" points="{line}" vector-effect="non-scaling-stroke"/>'
        "</svg><figcaption>Attempt {attempt}: {end}</figcaption></figure>",
        width=WIDTH,
        height=HEIGHT,
        attempt=run.attempt,
        line=line,
        words=_in_words(points),
        end=_reached(points[-1]),
    )


def _in_words(points: Sequence[Point]) -> str:
    """Return when the attempt was at each milestone that it reached, and where it was at its end."""
    passed = [(at, mark) for mark in MILESTONES for at in _passes(points, mark)]
    return "; ".join(dict.fromkeys(map(_reached, [*passed, points[-1]]))) + "."


def _passes(points: Sequence[Point], mark: float) -> list[float]:
    """Return when the line through the points first came to a percentage, if it did."""
    for (begin, low), (end, high) in pairwise(points):
        if low < mark <= high:
            return [begin + (end - begin) * (mark - low) / (high - low)]
    return []


def _reached(point: Point) -> str:
    seconds, percent = point
    return f"{percent:.4g} % after {_duration(seconds)}"


def _duration(seconds: float) -> str:
    """Return a time in words, in its two largest units."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
