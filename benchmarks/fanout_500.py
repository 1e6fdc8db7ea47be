"""One job, 500 watchers, full speed: ours delivers more than Node's `ws` and nginx's nchan, on Daphne.

Every peer gets its events four at a time, as from a worker that does not wait for those who watch; in the server's own
process, past any database (nchan: over HTTP). Ours alone joins those that wait together, and writes them in one go;
every other peer sends each by itself, as its design has it. In the row «one event at a time» ours joins nothing
either, and is held against the same targets. On each server: ours beside the bare server.

uvicorn runs as `pip install uvicorn` has it beside our own packages: asyncio, h11, and websockets (its sans-I/O
protocol), without uvloop and httptools; picows runs on plain asyncio as well.
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
    for ours in ("ours, serve", ONE_AT_A_TIME):
        for name, target in targets.items():
            result.compare(ours, name, target)
    result.compare("ours, daphne", "bare Daphne", 0.85)
    result.compare("ours, uvicorn", "bare uvicorn", 0.85)
