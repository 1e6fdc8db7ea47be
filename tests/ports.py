"""TCP ports for the servers of tests, of which each is given once, whichever process asks."""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# Those below are given by name, and Chromium opens no page at 10080; those above the kernel gives to clients.
FIRST, LAST = 10_100, 31_999

_random = random.SystemRandom()  # processes that run tests side by side have the same seed
_given: set[int] = set()
# A lock on its byte number N keeps the port N, until the process ends: a server takes a moment to start and may be
# killed and come back, and meanwhile nobody listens there. Another's server there would answer in its name.
_keep = (Path(tempfile.gettempdir()) / f"progress-test-ports-{os.getuid()}").open("ab")


def free_port() -> int:
    """Return a port where nobody listens, given to no other test and to no client as long as this process lives."""
    while True:
        port = _random.randint(FIRST, LAST)
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            fcntl.lockf(_keep, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            _given.add(port)
            probe.bind(("", port))
            return port
