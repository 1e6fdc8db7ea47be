"""Publishes to nchan, in a process of its own: over one HTTP connection, a burst of requests ahead of the answers.

Started by the load client, whose core it shares, with a plan (JSON) as its argument; prints a line of JSON.
"""

import json
import socket
import sys
import time
import urllib.parse
from typing import Any, BinaryIO

from benchmarks import payload

MADE = b"HTTP/1.1 201", b"HTTP/1.1 202"  # with and without watchers


def publish(plan: dict[str, Any]) -> dict[str, float]:
    """Publish the events; return when that began, and the processor time that it took."""
    parts = urllib.parse.urlsplit(plan["url"])
    texts = [payload.text(payload.fields(payload.BASE + n, plan["size"])) for n in range(1, plan["events"] + 1)]
    requests = [
        f"POST /pub HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode() for text in texts
    ]
    with socket.create_connection((parts.hostname, parts.port)) as connection, connection.makefile("rb") as answers:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began, used = time.monotonic(), time.process_time()
        for number, request in enumerate(requests):
            connection.sendall(request)
            if number >= plan["burst"]:
                _read_answer(answers)
        for _ in requests[-plan["burst"] :]:
            _read_answer(answers)
    return {"began": began, "publisher_cpu": time.process_time() - used}


def _read_answer(answers: BinaryIO) -> None:
    status, size = answers.readline(), 0
    if not status.startswith(MADE):
        raise RuntimeError(status.decode())
    while (line := answers.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            size = int(value)
    answers.read(size)


if __name__ == "__main__":
    print(json.dumps(publish(json.loads(sys.argv[1]))))
