"""A job that does not exist, one that is for others only, and such a one that somebody watches are refused alike.

A stranger asks for them over one socket, one after another in a random order, and notes how long each answer takes: how
often does the best limit between two kinds tell them apart? As often as it tells apart two halves of one kind, if the
time says nothing; half of the time, but for chance.
"""

import json
import random
import statistics
import time
from itertools import count, cycle, islice

from websockets.sync.client import ClientConnection, connect

from benchmarks import site
from benchmarks.options import Options
from benchmarks.results import Ratio, Result, Row
from tests.installation import Site

TITLE = "Unknown and forbidden jobs are refused alike"
ASKED, ALLOWED = 1_500, 2.0  # of each kind in a round; how many percent more may be told apart than of one kind
UNLIMITED = {
    f"PROGRESS_MAX_{name}": "10000"
    for name in (
        "MESSAGES_PER_SECOND",
        "MESSAGES_BURST",
        "CLIENT_MESSAGES_PER_SECOND",
        "MISSES_PER_SECOND",
        "MISSES_BURST",
    )
}
UNKNOWN, FORBIDDEN, WATCHED = "does not exist", "is for others", "is for others, who watch"
MAKE = """
from django.contrib.auth.models import User
from jobs.lifecycle import ProcessingJobLifecycle
ann = User.objects.create_user("ann")
for number in range(50):
    ProcessingJobLifecycle.create(f"forbidden-{number}", owner=ann)
    ProcessingJobLifecycle.create(f"watched-{number}", owner=ann)
"""


def measure(options: Options) -> Result:
    """Ask on SQLite, and on PostgreSQL with Redis."""
    result = Result("refused_alike", TITLE)
    _on(result, "SQLite", site.installed(options.folder / "sqlite", **UNLIMITED), options)
    with site.redis_and_postgres(result) as urls:
        if urls is not None:
            redis_url, database_url = urls
            place = site.installed(options.folder / "postgres", database_url, redis_url, **UNLIMITED)
            _on(result, "PostgreSQL + Redis", place, options)
    return result


def _on(result: Result, name: str, place: Site, options: Options) -> None:
    place.worker(MAKE)
    token = place.manage("issue_token", "--user", "ann").strip()
    served = place.serve()
    told: dict[str, list[float]] = {FORBIDDEN: [], WATCHED: [], "two halves of one kind": []}
    medians: dict[str, list[float]] = {UNKNOWN: [], FORBIDDEN: [], WATCHED: []}
    of_ann = {"Authorization": f"Bearer {token}"}
    url = f"{served.ws_url}/progress/ws"
    with connect(url, additional_headers=of_ann) as owner, connect(url) as stranger:
        for number in range(50):
            owner.send(json.dumps({"type": "subscribe", "job_id": f"watched-{number}"}))
            owner.recv()
        for _ in range(options.rounds):
            took = _took(stranger, 100 if options.is_quick else ASKED)
            for kind, times in took.items():
                medians[kind].append(1e3 * statistics.median(times))
            for kind in (FORBIDDEN, WATCHED):
                told[kind].append(_told_apart(took[UNKNOWN], took[kind]))
            told["two halves of one kind"].append(_told_apart(took[UNKNOWN][::2], took[UNKNOWN][1::2]))
    served.stop()
    result.rows += [Row(f"{name}, one that {kind}", figures, "ms") for kind, figures in medians.items()]
    result.rows += [Row(f"{name}, told apart: {kind}", figures, "%") for kind, figures in told.items()]
    chance = statistics.median(told["two halves of one kind"])
    for kind in (FORBIDDEN, WATCHED):
        more = statistics.median(told[kind]) - chance
        result.ratios.append(Ratio(f"{name}, told apart more than by chance: {kind}", more, ALLOWED, False, "%"))


def _took(stranger: ClientConnection, times: int) -> dict[str, list[float]]:
    """Return the seconds that each answer took."""
    ids = {
        UNKNOWN: (f"unknown-{random.getrandbits(40)}" for _ in count()),
        FORBIDDEN: cycle(f"forbidden-{number}" for number in range(50)),
        WATCHED: cycle(f"watched-{number}" for number in range(50)),
    }
    asked = [(kind, job_id) for kind, some in ids.items() for job_id in islice(some, times)]
    random.shuffle(asked)
    took: dict[str, list[float]] = {kind: [] for kind in ids}
    for kind, job_id in asked:
        message = json.dumps({"type": "subscribe", "job_id": job_id})
        began = time.perf_counter()
        stranger.send(message)
        while json.loads(answer := stranger.recv())["type"] == "heartbeat":
            continue
        took[kind].append(time.perf_counter() - began)
        if json.loads(answer)["code"] != "job_not_found":
            raise RuntimeError(f"{job_id}: {answer!r}")
    return took


def _told_apart(some: list[float], others: list[float]) -> float:
    """Return the percentage of answers whose kind the best limit of time between two kinds names rightly."""
    steps = sorted([(seconds, 1 / len(some)) for seconds in some] + [(seconds, -1 / len(others)) for seconds in others])
    lead = most = 0.0
    for _, step in steps:
        lead += step
        most = max(most, abs(lead))
    return 50 + 50 * most
