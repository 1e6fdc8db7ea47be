"""A loop whose job shows how far it is: `track` takes no more of an item's time than tqdm does.

An empty loop over a million numbers, bare, with tqdm that prints into nowhere, and with `track`, in turn: the time that
an item takes more than bare. The job is stored in SQLite, and reports four times a second.
"""

import json

from benchmarks import site
from benchmarks.options import Options
from benchmarks.results import Result, Row

TITLE = "A loop over a million items that shows how far it is"
ITEMS = 1_000_000
TRACK, TQDM = "track", "tqdm"
LOOPS = """
import io, json, sys, time
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import track
from tqdm import tqdm
items, rounds = int(sys.argv[1]), int(sys.argv[2])
def taken(loop):
    began = time.perf_counter()
    for _ in loop:
        pass
    return time.perf_counter() - began
for _ in range(rounds):
    bare = taken(range(items))
    by_tqdm = taken(tqdm(range(items), file=io.StringIO()))
    by_track = taken(track(range(items), ProcessingJobLifecycle.create()))
    print(json.dumps([1e9 * (seconds - bare) / items for seconds in (by_tqdm, by_track)]))
"""


def measure(options: Options) -> Result:
    """Go through the loops in turn."""
    result = Result("tracking", TITLE)
    items = ITEMS // 10 if options.is_quick else ITEMS
    lines = site.installed(options.folder / "tracking").worker(LOOPS, str(items), str(options.rounds)).splitlines()
    rounds = [json.loads(line) for line in lines]
    result.rows += [
        Row(name, [each[number] for each in rounds], "ns an item") for number, name in enumerate((TQDM, TRACK))
    ]
    result.compare(TRACK, TQDM, 1.0, at_least=False)
    return result
