"""The reporter of whatever the code is called for, so that it need not be handed down to where something happens."""

from .entered import reporters
from .reporter import Reporter


def current_reporter() -> Reporter | None:
    """Return the reporter in whose block this code is called; of several, that of the inner one.

    A thread that is started in a block is not in it, unless it gets a copy of the context, as by `asyncio.to_thread`.
    """
    innermost: Reporter | None = reporters.innermost
    return innermost
