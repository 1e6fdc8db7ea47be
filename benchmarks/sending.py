"""How the load client has a peer send: by a control message, or by a process that publishes."""

import asyncio
import json
import sys
import urllib.parse
from typing import Any

from benchmarks import websocket
from benchmarks.websocket import READ_BYTES


async def command(plan: dict[str, Any]) -> dict[str, Any]:
    """Send the control message."""
    names = "events", "size", "burst", "rate", "writes", "own_jobs"
    query = urllib.parse.urlencode({name: plan[name] for name in names if name in plan})
    origin = "/".join(plan["url"].split("/")[:3])
    loop = asyncio.get_running_loop()
    control, data = await websocket.connect(f"{origin}/bench/run?{query}")
    with control:
        while True:
            for opcode, begin, end in websocket.frames(data):
                if opcode == websocket.TEXT:
                    return json.loads(data[begin:end])  # type: ignore[no-any-return]
            more = await loop.sock_recv(control, READ_BYTES)
            if not more:
                raise RuntimeError("the server closed the control socket without a report")
            data += more


async def post(plan: dict[str, Any]) -> dict[str, Any]:
    """Let a process of its own publish, on this core, so that it need not wait for the watchers' turn."""
    arguments = json.dumps({name: plan[name] for name in ("url", "events", "size", "burst")})
    program = sys.executable, "-m", "benchmarks.publisher", arguments
    publisher = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    output, _ = await publisher.communicate()
    if publisher.returncode:
        raise RuntimeError("the publisher failed")
    said: dict[str, Any] = json.loads(output)
    return said
