"""Checks at start that every ``PROGRESS_*`` setting is known, of its type and within its bounds."""

import difflib
import logging
import re
import sys
from typing import Any, NamedTuple

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register

from .conf import PREFIX, conf, types
from .identity import keys
from .identity.addresses import networks_of
from .source.store import log_tail

logger = logging.getLogger(__name__)


class Bounds(NamedTuple):
    """The lowest and the highest value of a setting, and why."""

    low: float
    high: float
    why: str


BOUNDS = {
    "HEARTBEAT_SECONDS": Bounds(0.1, 600, "each socket gets one, and a dead connection is noticed no sooner"),
    "SYNC_SECONDS": Bounds(0.01, 3600, "each time is a query, and what Redis lost is noticed no sooner"),
    "SWEEP_SECONDS": Bounds(0.01, 60, "each time is a query, and nothing is seen sooner"),
    "POLL_SECONDS": Bounds(0.001, 1, "each time takes the event loop, and nothing is seen sooner"),
    "ACCESS_SECONDS": Bounds(0.1, 60, "each time is a few queries, and who loses a right keeps it as long"),
    "FEED_OVERLAP_SECONDS": Bounds(1, 3600, "transactions last as long, and all that is newer is read each time"),
    "RING_EVENTS": Bounds(1, 100_000, "each watched job keeps as many in memory"),
    "REPLAY_EVENTS": Bounds(1, 1_000_000, "a replay of more takes longer than anybody waits"),
    "FEED_JOBS": Bounds(1, 1_000, "a page shows them all, and one frame carries them"),
    "OUTBOX_BYTES": Bounds(65_536, 2**30, "the longest frame must fit, and a slow watcher may take as much memory"),
    "SEND_SECONDS": Bounds(0.1, 3600, "a network stalls for moments, and a dead client keeps its memory as long"),
    "PUBLISH_QUEUE": Bounds(1, 1_000_000, "a worker keeps as many in memory"),
    "FLUSH_SECONDS": Bounds(0.01, 60, "a worker that ends waits as long"),
    "MAX_MESSAGE_BYTES": Bounds(1_024, 2**20, "a token must fit, and each client may have the server parse as much"),
    "MAX_SUBSCRIPTIONS": Bounds(1, 10_000, "each takes memory, and a query when it begins"),
    "MAX_MESSAGES_PER_SECOND": Bounds(0.1, 10_000, "a page sends a few, and a server can't take more"),
    "MAX_MESSAGES_BURST": Bounds(1, 100_000, "a page that opens sends a few, and others wait meanwhile"),
    "MAX_CLIENT_MESSAGES_PER_SECOND": Bounds(1, 1_000_000, "all sockets of an address share it"),
    "MAX_MISSES_PER_SECOND": Bounds(0.1, 10_000, "a page asks for what it was shown, and each has the database read"),
    "MAX_MISSES_BURST": Bounds(1, 100_000, "one message may name 128 jobs, and each has the database read"),
    "MAX_HANDSHAKES_PER_SECOND": Bounds(0.1, 10_000, "many may share an address, and each handshake takes 0.5 ms"),
    "MAX_HANDSHAKES_BURST": Bounds(1, 100_000, "many may share an address, and all come back after a restart"),
    "HEADER_SECONDS": Bounds(0.1, 600, "a network stalls for moments, and a half request keeps its memory as long"),
    "IDLE_SECONDS": Bounds(0.1, 86_400, "a page may wait before it subscribes, and a socket keeps its place as long"),
    "MAX_BODY_BYTES": Bounds(1_024, 2**30, "a form must fit, and Daphne holds all of a request in memory"),
    "MAX_CONNECTIONS_PER_CLIENT": Bounds(1, 1_000_000, "each is a file that the process has open"),
    "MAX_WATCHERS_PER_JOB": Bounds(1, 10_000_000, "each gets each event"),
    "MAX_WAITS": Bounds(1, 1_000_000, "each is an open connection"),
    "MAX_WAITS_PER_JOB": Bounds(1, 1_000_000, "each is an open connection"),
    "PAGE_SECONDS": Bounds(1, 86_400, "a client asks again as often, and what is hidden can be read as long"),
    "ACCEPT_BACKLOG": Bounds(1, 65_535, "the kernel takes no other"),
    "PROXIES": Bounds(1, 10, "each has added an address to the header"),
    "DRAIN_SECONDS": Bounds(0.01, 600, "the machine is shut down meanwhile"),
    "TOKEN_SECONDS": Bounds(1, 31_536_000, "a client must have the time to use it, and it may fall into wrong hands"),
    "MAX_TOKEN_SECONDS": Bounds(1, 31_536_000, "a token that is lost admits whoever finds it as long"),
}
REPLAY_MARGIN = 500  # events that are written while a client that is as far behind as may be gets its replay
MODE = re.compile(r"0?[67][0-7]{2}")


def warn_of_server() -> None:
    """Log a warning on a server that is known not to work; it does not run Django's checks, so this is not one."""
    if "granian" in sys.modules:
        logger.warning(
            "granian sends no close while it waits for a client's next message, so clients that are turned away do not "
            "learn why, and stay. Use manage.py serve, or daphne, uvicorn or hypercorn."
        )


@register()
def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the settings."""
    known = types()
    found = [name.removeprefix(PREFIX) for name in dir(settings) if name.startswith(PREFIX)]
    problems: list[CheckMessage] = [_unknown(name, list(known)) for name in found if name not in known]
    return problems + [problem for name, kind in known.items() if (problem := _wrong(name, kind))]


@register()
def check_replay(**_: Any) -> list[CheckMessage]:
    """Check that what is replayed to clients is kept of a running job's log."""
    tail, replay = log_tail(), conf.REPLAY_EVENTS
    if not all(isinstance(each, int) for each in (tail, replay)) or tail >= replay + REPLAY_MARGIN:
        return []
    words = (
        f"JOBS_LOG_TAIL = {tail:,} keeps less of a running job's log than PROGRESS_REPLAY_EVENTS = {replay:,} "
        f"events and the {REPLAY_MARGIN:,} that may follow meanwhile: some clients get a snapshot for no other reason."
    )
    return [checks.Warning(words, hint="Keep more, or replay less.", id="progress.W001")]


def _unknown(name: str, known: list[str]) -> Error:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {PREFIX}{close[0]}?" if close else "docs/settings.md lists all settings."
    return Error(f"There is no setting {PREFIX}{name}.", hint=hint, id="progress.E001")


def _wrong(name: str, kind: type) -> Error | None:
    value = getattr(conf, name)
    if name == "TOKEN_KEYS":
        problem = keys.problem_of(value)
        return Error(f"{PREFIX}{name} {problem}.", id="progress.E003") if problem else None  # without the secrets
    words = {"UNIX_SOCKET_MODE": _wanted_mode, "TRUSTED_PROXIES": _wanted_networks}
    wanted = words[name](value) if kind is str else _wanted_number(value, kind, BOUNDS[name])
    return Error(f"{PREFIX}{name} must be {wanted}, not {value!r:.50}.", id="progress.E002") if wanted else None


def _wanted_number(value: Any, kind: type, bounds: Bounds) -> str | None:
    """Return in words what the value should be, or None if it is valid."""
    is_number = isinstance(value, int) or (kind is float and isinstance(value, float))
    if is_number and not isinstance(value, bool) and bounds.low <= value <= bounds.high:  # NaN is not within any bounds
        return None
    words = "a whole number" if kind is int else "a number"
    return f"{words} from {bounds.low:,} to {bounds.high:,} ({bounds.why})"


def _wanted_networks(value: Any) -> str | None:
    try:
        networks_of(value)
    except (AttributeError, TypeError, ValueError):
        return "addresses or networks such as 10.0.0.0/8, with no bits beyond the prefix, separated by commas"
    return None


def _wanted_mode(value: Any) -> str | None:
    if isinstance(value, str) and MODE.fullmatch(value):
        return None
    return "the mode of a file in octal, such as 660, in which the owner may read and write"
