"""The reporter of whatever the code is called for, so that it need not be handed down to where something happens."""

from typing import TYPE_CHECKING, Union

from .entered import reporters

if TYPE_CHECKING:  # another process need not have the models
    from .remote import RemoteReporter
    from .reporter import Reporter


def current_reporter() -> Union["Reporter", "RemoteReporter", None]:
    """Return the reporter in whose block this code is called; of several, that of the inner one.

    A thread that is started in a block is not in it, unless it gets a copy of the context, as by `asyncio.to_thread`.
    """
    innermost: Reporter | RemoteReporter | None = reporters.innermost
    return innermost
