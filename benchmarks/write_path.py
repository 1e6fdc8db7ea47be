"""`mark_progress`, committed on SQLite: at most five times the two raw statements.

Publishing adds at most 30 µs to the median call, and at most a third to the mean one: that has what the publisher's
thread takes of the caller's time.
"""

import json
import statistics

from benchmarks import site
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row
from tests.installation import Site

TITLE = "One mark_progress, committed on SQLite"
RUN = "from benchmarks.peers.raw_sql import main; import sys; main(*sys.argv[1:])"
PUBLISHING = 30.0  # µs that the caller may pay for it
WHOLE = {"JOBS_LOG_TAIL": "10000000"}  # no event is trimmed, since all are looked for
SHARE = 1.3  # of the mean call without publishing
MEAN = "the mean: "
OURS, REDIS, RAW = "ours, mark_progress", "ours, mark_progress and publishing", "raw SQL, two statements"


def measure(options: Options) -> Result:
    """Run each in turn; a figure is the median of the calls of a round."""
    result = Result("write_path", TITLE)
    events = 1_000 if options.is_quick else 5_000
    with site.redis() as redis_url:
        places = {
            OURS: (site.installed(options.folder / "plain", **WHOLE), "ours"),
            RAW: (site.installed(options.folder / "raw", **WHOLE), "raw"),
        }
        if redis_url:
            places[REDIS] = site.installed(options.folder / "redis", redis_url=redis_url, **WHOLE), "ours"
        found: dict[str, list[float]] = {what + name: [] for what in ("", MEAN) for name in places}
        for number in range(options.rounds + 1):
            for name, (place, which) in places.items():
                times = _run(place, which, events)
                if number:  # the first is the warm-up
                    found[name].append(statistics.median(times))
                    found[MEAN + name].append(statistics.fmean(times))
    result.rows = [Row(name, figures, "µs") for name, figures in found.items()]
    result.compare(OURS, RAW, 5, at_least=False)
    if result.has(REDIS):
        added = statistics.median(b - a for a, b in zip(found[OURS], found[REDIS], strict=True))
        result.compare(MEAN + REDIS, MEAN + OURS, SHARE, at_least=False)
        result.ratios.append(Ratio("publishing adds", added, PUBLISHING, at_least=False, unit="µs"))
    return result


def _run(place: Site, which: str, events: int) -> list[float]:
    """Return how long each call took, in µs."""
    before = place.job("bench")["seq"]
    times: list[float] = json.loads(place.worker(RUN, which, str(events)))
    written = [event["seq"] for event in place.events("bench")]
    if written != list(range(1, written[-1] + 1)) or written[-1] < before + events:
        raise RuntimeError("the log is not whole")
    return times
