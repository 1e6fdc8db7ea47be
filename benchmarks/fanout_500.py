"""One job, 500 watchers, full speed: ours delivers more than Node's `ws` and nginx's nchan, on Daphne.

Events come four at a time, as from a worker that does not wait for those who watch. Every peer sends each by itself,
as its design has it; ours writes those that wait together in one go. What it does with one event at a time is a row of
its own. On each server: ours beside the bare server.
"""

import dataclasses

from benchmarks import rounds, site
from benchmarks.options import Options
from benchmarks.peers import catalogue
from benchmarks.results import Result

WATCHERS = 500
TITLE = "One job, 500 watchers, full speed"
ONE_AT_A_TIME = "ours, serve, one event at a time"


def measure(options: Options) -> Result:
    """Run all peers in turn."""
    result = Result("fanout_500", TITLE)
    with site.redis() as redis_url:
        env = site.installed(options.folder / "fanout").env
        peers = [
            catalogue.ours(env),
            dataclasses.replace(catalogue.ours(env), name=ONE_AT_A_TIME, burst=1),
            catalogue.tutorial("memory"),
            *([catalogue.tutorial("core", redis_url), catalogue.tutorial("pubsub", redis_url)] if redis_url else []),
            catalogue.specification(),
            catalogue.node(),
            catalogue.nchan(),
            catalogue.bare_picows(),
            catalogue.ours_on_daphne(env),
            catalogue.bare_daphne(),
            catalogue.ours_on_uvicorn(env),
            catalogue.bare_uvicorn(),
        ]
        result.rows = rounds.fan_out(peers, WATCHERS, options.rounds, options.seconds, options.folder)
    _compare(result)
    return result


def _compare(result: Result) -> None:
    targets = {
        "Channels tutorial, in-memory": 40,
        "Channels tutorial, Redis": 40,
        "Channels tutorial, Redis pub/sub": 40,
        "specification, FastAPI": 2,
        "ws, Node.js": 1.2,
        "nchan, nginx": 1,
        "bare picows": 0.8,
    }
    for name, target in targets.items():
        result.compare("ours, serve", name, target)
    result.compare("ours, daphne", "bare Daphne", 0.85)
    result.compare("ours, uvicorn", "bare uvicorn", 0.85)
    alone = [f"{result.ratio(ONE_AT_A_TIME, name):.3g} × {name}" for name in targets if result.has(name)]
    result.remarks.append(f"With one event at a time, ours is: {'; '.join(alone)}.")
