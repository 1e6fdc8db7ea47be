"""A loop of a million items a second hardly notices that Redis is dead, or that the database is locked.

The same loop, an item of some 1 µs, tracked: on a healthy site, with a channel layer whose Redis is not there, and with
the database locked by another process for two seconds while it runs. The end must be right each time.
"""

import json

from benchmarks import site
from benchmarks.options import Options
from benchmarks.results import Result, Row
from tests.installation import Site

TITLE = "A loop of a million items a second, while Redis is dead or the database locked"
HEALTHY, DEAD, LOCKED = "all is well", "Redis is dead", "the database is locked for 2 s"
SLOWED = 1.03
ITEMS = 3_000_000
NOWHERE = "redis://127.0.0.1:1"
# Prints the seconds that the loop took. Its last argument says whether another process locks the database meanwhile.
LOOP = """
import subprocess, sys, time
from django.db import connection
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter
items, is_locked = int(sys.argv[1]), sys.argv[2] == "locked"
lock = f'''
import sqlite3, time
other = sqlite3.connect({str(connection.settings_dict["NAME"])!r}, isolation_level=None)
print("ready", flush=True); input()
other.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(2)
'''
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
other = subprocess.Popen([sys.executable, "-c", lock], **pipes)
assert other.stdout.readline() == "ready\\n"
job = ProcessingJobLifecycle.create()
with Reporter(job, total=items) as report:
    total = 0
    if is_locked:
        other.stdin.write("\\n")
        other.stdin.flush()
        assert other.stdout.readline() == "locked\\n"
    began = time.perf_counter()
    for row in report.track(range(items)):
        total += row * row % 7 + row // 3 % 5 + (row ^ total) % 3 + (row + total) % 11 + (row * total + 5) % 13
        total -= row * 3 % 5 + row // 7 % 3 + (row ^ 5) % 7
    took = time.perf_counter() - began
if not is_locked:
    other.stdin.close()
other.wait()
done = ProcessingJobLifecycle(job.job_id).job
assert (done.status, done.metadata["current"]) == ("completed", items), done.metadata
print(took)
"""


def measure(options: Options) -> Result:
    """Run the loop in each way, in turn."""
    result = Result("undisturbed", TITLE)
    items = ITEMS // 4 if options.is_quick else ITEMS
    well = site.installed(options.folder / "well")
    dead = site.installed(options.folder / "dead", redis_url=NOWHERE)
    ways: dict[str, tuple[Site, str]] = {HEALTHY: (well, ""), DEAD: (dead, ""), LOCKED: (well, "locked")}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        for name, (place, how) in ways.items():
            seconds = json.loads(place.worker(LOOP, str(items), how).splitlines()[-1])
            found[name] += [1e6 * seconds / items] if number else []  # the first is the warm-up
    result.rows = [Row(name, figures, "µs an item") for name, figures in found.items()]
    result.compare(DEAD, HEALTHY, SLOWED, at_least=False)
    result.compare(LOCKED, HEALTHY, SLOWED, at_least=False)
    return result
