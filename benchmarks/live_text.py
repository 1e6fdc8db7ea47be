"""10,000 log lines or 1 MB of output a second, for ten seconds: 50 watchers get all of it, and others hardly notice.

A worker keeps a pace: first it says nothing, then it says a line at each step, then it puts out text. 50 sockets watch
the job with its lines and its output; beside it, 20 others watch a job of ten events a second. What the 50 were sent is
compared, byte by byte, and read: every line and every character, once, in order.
"""

import contextlib
import json
import statistics
from concurrent.futures import ThreadPoolExecutor

from benchmarks import onlookers, site
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row
from benchmarks.small_log import LIVE
from tests.installation import Served, Site, finish

TITLE = "10,000 log lines, or 1 MB of output, a second"
WATCHERS, OTHERS, SECONDS, EACH_SECOND = 50, 20, 10, 10_000
SLOWED, LATER, MEMORY_MIB = 1.05, 2.0, 256.0
QUIET, LINES, TEXT = "nothing is said", "10,000 lines a second", "1 MB of output a second"
HOW = {QUIET: "quiet", LINES: "lines", TEXT: "text"}
# Steps at a pace, a hundred at once, and says something at each; prints the seconds that it took, but for the end.
TALK = """
import sys, time
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter
name, how, seconds, each_second = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with Reporter(ProcessingJobLifecycle.create(name, public=True)) as report:
    out = report.output("answer")
    print("ready", flush=True); input()
    began = time.monotonic()
    for step in range(seconds * each_second):
        if how == "lines":
            report.log(f"line {step:07} of a worker that says a lot")
        elif how == "text":
            out.write(f"{step:07}" + "." * 93)
        if step % 100 == 99:
            time.sleep(max(0, began + step / each_second - time.monotonic()))
    took = time.monotonic() - began
print(took)
"""
# Watches by raw sockets; prints how many frames each was sent behind its snapshot, and what is wrong with them.
WATCH = """
import base64, json, os, select, socket, struct, sys, zlib
port, job_id, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def masked(text):
    data = text.encode()
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data
def frames(data):
    at = 0
    while at + 2 <= len(data):
        size, head = data[at + 1], 2
        if size == 126:
            size, head = struct.unpack("!H", data[at + 2 : at + 4])[0], 4
        elif size == 127:
            size, head = struct.unpack("!Q", data[at + 2 : at + 10])[0], 10
        if data[at] == 0x81:
            yield data[at + head : at + head + size]
        at += head + size
sockets = []
for _ in range(count):
    each = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    each.sendall((f"GET /progress/ws HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nUpgrade: websocket\\r\\n"
        f"Connection: Upgrade\\r\\nSec-WebSocket-Key: {key}\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n").encode())
    got = b""
    while not got.endswith(b"\\r\\n\\r\\n"):
        got += each.recv(1)
    each.sendall(masked(json.dumps({"type": "subscribe", "job_id": job_id, "logs": True, "output": True})))
    got = b""
    while b'"type":"snapshot"' not in got:
        got = each.recv(65536)
    each.setblocking(False)
    sockets.append(each)
print("there", flush=True)
received = {each: [] for each in sockets}
poll, by_fd = select.epoll(), {each.fileno(): each for each in sockets}
for each in sockets:
    poll.register(each, select.EPOLLIN)
over, lost = set(), 0
while len(over) < count:
    for fd, _ in poll.poll():
        each = by_fd[fd]
        data = each.recv(1 << 20)
        received[each].append(data)
        if not data or data[:1] == b"\\x88" or b'"status":"completed"' in data or b"\\x88\\x02" in data[-4:]:
            lost += b'"status":"completed"' not in data
            over.add(each)
            poll.unregister(fd)
wholes = [b"".join(parts) for parts in received.values()]
checks = {zlib.crc32(whole) for whole in wholes}
texts = [json.loads(frame) for frame in frames(wholes[0])]
seqs = [frame["seq"] for frame in texts if frame["type"] in ("log", "output")]
lines = [frame["text"] for frame in texts if frame["type"] == "log"]
text = "".join(frame["text"] for frame in texts if frame["type"] == "output")
print(json.dumps({
    "lost": lost, "different": len(checks), "count": len(lines), "characters": len(text),
    "left_out": [line for line in lines if "left out" in line],
    "in_order": seqs == sorted(set(seqs)) and all(line[5:12] == f"{at:07}" for at, line in enumerate(lines))
    and all(text[at : at + 7] == f"{at // 100:07}" for at in range(0, len(text), 100)),
}))
"""


def measure(options: Options) -> Result:
    """Let the worker talk, on SQLite alone and with PostgreSQL and Redis."""
    result = Result("live_text", TITLE)
    _on(result, "SQLite", site.installed(options.folder / "sqlite", **_settings()), options)
    with site.redis_and_postgres(result) as urls:
        if urls is not None:
            redis_url, url = urls
            place = site.installed(options.folder / "pg", url, redis_url, **_settings())
            _on(result, "PostgreSQL and Redis", place, options)
    return result


def _settings() -> dict[str, str]:
    return {"PROGRESS_HEARTBEAT_SECONDS": "600"}  # so that what is sent is the same for all


def _on(result: Result, name: str, place: Site, options: Options) -> None:
    seconds = 3 if options.is_quick else SECONDS
    found: dict[str, list[tuple[float, float, float]]] = {how: [] for how in HOW}
    served = place.serve()
    try:
        place.worker('from jobs.lifecycle import *\nProcessingJobLifecycle.create("live", public=True).mark_started()')
        for number in range(options.rounds):
            for how in HOW:
                found[how].append(_talk(place, served, how, f"{HOW[how]}-{number}", seconds))
    finally:
        served.stop()
    for how, figures in found.items():
        took, p99, memory = ([each[at] for each in figures] for at in range(3))
        result.rows.append(Row(f"{name}, {how}: the worker took", took, "s"))
        result.rows.append(Row(f"{name}, {how}: p99 of others", p99, "ms"))
        result.rows.append(Row(f"{name}, {how}: memory of the server", memory, "MiB"))
    for how in (LINES, TEXT):
        result.compare(f"{name}, {how}: the worker took", f"{name}, {QUIET}: the worker took", SLOWED, at_least=False)
        result.compare(f"{name}, {how}: p99 of others", f"{name}, {QUIET}: p99 of others", LATER, at_least=False)
        memory_row = result.row(f"{name}, {how}: memory of the server")
        most = statistics.median(memory_row.figures)
        result.ratios.append(Ratio(memory_row.name, most, MEMORY_MIB, at_least=False, unit="MiB"))


def _talk(place: Site, served: Served, how: str, job_id: str, seconds: int) -> tuple[float, float, float]:
    """Return how long the worker took, the p99 of others, and the server's memory."""
    worker = place.start_worker(TALK, job_id, HOW[how], str(seconds), str(EACH_SECOND))
    assert worker.stdout is not None
    assert worker.stdin is not None
    assert worker.stdout.readline() == "ready\n"
    watching = place.start_worker(WATCH, str(served.port), job_id, str(WATCHERS))
    assert watching.stdout is not None
    assert watching.stdout.readline() == "there\n"
    with contextlib.ExitStack() as stack:
        crowd = stack.enter_context(onlookers.there(f"{served.ws_url}/progress/ws/live", OTHERS))
        live = place.start_worker(LIVE, str(seconds))
        with ThreadPoolExecutor() as pool:
            worker.stdin.write("\n")
            worker.stdin.flush()
            told = pool.submit(finish, worker)
            finish(live)
            p99 = crowd.seen()["p99"]
            took = float(told.result())
    seen = json.loads(finish(watching))
    steps = seconds * EACH_SECOND
    wanted = {QUIET: (0, 0), LINES: (steps, 0), TEXT: (0, steps * 100)}[how]
    if (seen["count"], seen["characters"]) != wanted or seen["lost"] or seen["different"] != 1 or not seen["in_order"]:
        raise RuntimeError(f"{how}: not all was sent to all: {seen}")
    return took, p99, site.memory(served)
