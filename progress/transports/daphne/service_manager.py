"""What systemd is told of a server (sd_notify(3)): that it is ready, lives, and is about to stop.

With ``Type=notify``, ``systemctl restart`` returns when the new process serves, so that one server can be restarted
after the other. With ``WatchdogSec=``, a process that no longer tells that it lives, because it is frozen or its event
loop is stuck, is killed: then its clients come back, and proxies that ask nobody notice too.
"""

import asyncio
import logging
import os
import socket
import weakref
from collections.abc import Mapping

logger = logging.getLogger(__name__)

SIGNS = 3  # of life in the time after which systemd kills, so that one may be late


class ServiceManager:
    """Whoever started this process, if that wants to be told.

    Args:
        environment: Where it says so: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC``.

    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # an abstract socket, as systemd writes it
            self._address = f"\0{self._address[1:]}"
        self._socket: socket.socket | None = None
        if self._address:  # made now: a server for whom no file is left still lives, and may say so
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            weakref.finalize(self, self._socket.close)
        self._seconds = int(environment.get("WATCHDOG_USEC", "0")) / 1_000_000 / SIGNS

    def ready(self) -> None:
        """Tell that the server serves, and from here on, that it lives."""
        self._tell("READY=1")
        if self._seconds:
            self._live()

    def stopping(self) -> None:
        """Tell that the server takes nothing new, and is about to end."""
        self._tell("STOPPING=1")

    def _live(self) -> None:
        self._tell("WATCHDOG=1")
        asyncio.get_running_loop().call_later(self._seconds, self._live)

    def _tell(self, state: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError as error:  # nobody listens, or has the time to: no reason not to serve
            logger.warning("The service manager was not told %s: %s", state, error)
