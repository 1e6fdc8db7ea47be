"""The specification's design: a FastAPI router, a pydantic message, an in-memory broadcaster.

Its text leaves open how often a message is encoded; here it is once for all, the faster reading.
"""

import asyncio
from collections import defaultdict
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

from benchmarks.peers import drive

app = FastAPI()


class ProgressMessage(BaseModel):
    """A progress update."""

    type: str
    job_id: str
    status: str
    progress: float | None
    message: str
    timestamp: str
    metadata: dict[str, Any]
    seq: int


class ProgressBroadcaster:
    """Job id → set of WebSocket connections."""

    def __init__(self) -> None:
        self._connections: dict[str, set[WebSocket]] = defaultdict(set)
        self._lock = asyncio.Lock()

    async def subscribe(self, job_id: str, websocket: WebSocket) -> None:
        """Add a connection."""
        async with self._lock:
            self._connections[job_id].add(websocket)

    async def unsubscribe(self, job_id: str, websocket: WebSocket) -> None:
        """Remove a connection."""
        async with self._lock:
            self._connections[job_id].discard(websocket)

    async def publish(self, message: ProgressMessage) -> None:
        """Send to every subscriber; one that fails does not affect the others."""
        text = message.model_dump_json()
        async with self._lock:
            connections = list(self._connections[message.job_id])
        for websocket in connections:
            try:
                await websocket.send_text(text)
            except (RuntimeError, WebSocketDisconnect):
                await self.unsubscribe(message.job_id, websocket)


broadcaster = ProgressBroadcaster()


@app.websocket("/progress/ws/{job_id}")
async def progress(websocket: WebSocket, job_id: str) -> None:
    """Follow a job."""
    await broadcaster.subscribe(job_id, websocket)
    await websocket.accept()
    try:
        while True:
            await websocket.receive_json()
    except WebSocketDisconnect:
        await broadcaster.unsubscribe(job_id, websocket)


@app.websocket(drive.PATH)
async def run(websocket: WebSocket) -> None:
    """Send events."""
    await websocket.accept()
    order = drive.Order(websocket.url.query)
    messages = [ProgressMessage(**fields) for fields in order.messages()]
    await websocket.send_text(await drive.run(order, messages, broadcaster.publish))
    await websocket.close()
