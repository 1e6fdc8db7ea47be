"""What the tests of parents and children look at."""

from collections.abc import Callable

from jobs import children
from jobs.lifecycle import ProcessingJobLifecycle
from tests.jobs.records import assert_whole, row

Make = Callable[..., ProcessingJobLifecycle]


def settled() -> float | None:
    """Return how far the parent is, once all that is marked was looked at."""
    children.soon.finish()
    assert_whole("parent")
    progress: float | None = row("parent")["progress"]
    return progress
