"""Every ``PROGRESS_*`` setting, with its type, default, unit and reason.

A setting is read when it is used, so a test can override it and a change needs no new import.
``checks.py`` refuses bad values at start.
"""

import typing
from typing import Any

PREFIX = "PROGRESS_"


class Conf:
    """The settings of the progress app: ``conf.NAME`` is ``settings.PROGRESS_NAME``, or the default here."""

    HEARTBEAT_SECONDS: float = 25.0  # below the usual 60 s after which a proxy cuts an idle connection

    SYNC_SECONDS: float = 3.0  # how long a message that Redis lost can go unnoticed
    SWEEP_SECONDS: float = 0.25  # with PostgreSQL alone: how often the log is read for news
    POLL_SECONDS: float = 0.02  # with SQLite alone: how often its change counter is read (3 µs a read)
    ACCESS_SECONDS: float = 3.5  # how often users, sessions and access are read again for open sockets
    FEED_OVERLAP_SECONDS: float = 60.0  # how far a sweep of the feed looks back, for transactions that commit late

    RING_EVENTS: int = 256  # recent events in memory for each watched job (128 KiB at most), to replay without a query
    REPLAY_EVENTS: int = 5000  # a client further behind than this gets a snapshot
    FEED_JOBS: int = 50  # how many recent jobs the first answer of a feed shows

    OUTBOX_BYTES: int = 262_144  # what may wait for one slow watcher, beyond the socket's own buffers
    SEND_SECONDS: float = 20.0  # how long one frame may be stuck in a slow watcher's socket
    PUBLISH_QUEUE: int = 10_000  # events that may wait for Redis in a worker; the log has them in any case
    FLUSH_SECONDS: float = 2.0  # how long a worker that exits waits for its last events to reach Redis

    MAX_MESSAGE_BYTES: int = 65_536  # longest inbound message
    MAX_SUBSCRIPTIONS: int = 128  # jobs watched by one socket
    MAX_MESSAGES_PER_SECOND: float = 20.0  # inbound, one socket, sustained
    MAX_MESSAGES_BURST: int = 200  # inbound, one socket, at once: room to subscribe to every job of a page
    MAX_CLIENT_MESSAGES_PER_SECOND: float = 1000.0  # inbound, all sockets of one address; beyond it, reading pauses
    MAX_MISSES_PER_SECOND: float = 5.0  # subscriptions of one client to jobs that were not found, sustained
    MAX_MISSES_BURST: int = 200  # the same, at once: room for a page whose jobs were all deleted
    MAX_HANDSHAKES_PER_SECOND: float = 100.0  # of one address, sustained: 6 % of a core
    MAX_HANDSHAKES_BURST: int = 2000  # of one address, at once: an office comes back after a restart
    HEADER_SECONDS: float = 10.0  # in which the headers of a request must have come
    IDLE_SECONDS: float = 60.0  # for which a socket of nobody known may watch nothing
    MAX_BODY_BYTES: int = 3_145_728  # longest body of a request; Django's own limit of 2.5 MiB leaves out files
    MAX_CONNECTIONS_PER_CLIENT: int = 200  # sockets of one user, or of one address without a user
    MAX_WATCHERS_PER_JOB: int = 20_000  # subscriptions to one job
    MAX_WAITS: int = 5000  # requests of one process that wait for an event: each is an open connection
    MAX_WAITS_PER_JOB: int = 1000  # of those, for one job: a cache in front needs one
    PAGE_SECONDS: int = 60  # for which caches keep a public job's events, also after it was made private

    ACCEPT_BACKLOG: int = 4096  # new connections that may queue while the server is busy
    UNIX_SOCKET_MODE: str = "660"  # octal; of the socket of `serve -u`, which only its owner and group may open
    TRUSTED_PROXIES: str = "127.0.0.0/8, ::1"  # peers whose word `serve --proxy-headers` takes; so is a Unix socket's
    PROXIES: int = 1  # in front of `serve --proxy-headers`: each appends an address to X-Forwarded-For
    DRAIN_SECONDS: float = 5.0  # over which a server that stops spreads its closes; a few are 20 ms apart

    TOKEN_SECONDS: float = 3600.0  # how long a token of ours is valid, unless something else is asked for
    MAX_TOKEN_SECONDS: float = 2_592_000.0  # how long any token may still be valid: 30 days
    TOKEN_KEYS: tuple[Any, ...] = ()  # by which other services sign tokens (`progress.identity.keys`)

    def __getattribute__(self, name: str) -> Any:
        default = object.__getattribute__(self, name)
        if not name.isupper():
            return default
        from django.conf import settings

        return getattr(settings, PREFIX + name, default)


conf = Conf()


def types() -> dict[str, type]:
    """Return the type of each setting by its name without the prefix."""
    return typing.get_type_hints(Conf)
