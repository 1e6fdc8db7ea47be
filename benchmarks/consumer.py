"""What our consumer saves by what it overrides: Channels' own loop has a task more, its dispatch a thread's visit."""

import json

from benchmarks import site
from benchmarks.options import Options
from benchmarks.results import Result, Row

TITLE = "A socket in our consumer, and with what it overrides left as Channels has it"
RUN = "from benchmarks.peers.consumers import main; import sys; main(*sys.argv[1:])"
NAMES = {"ours": "ours", "loop": "Channels' __call__", "dispatch": "Channels' dispatch"}
SOCKETS = 2_000
MESSAGES = 200


def measure(options: Options) -> Result:
    """Run each in a process of its own, in turn."""
    result = Result("consumer", TITLE)
    place = site.installed(options.folder / "consumer")
    memory: dict[str, list[float]] = {name: [] for name in NAMES}
    time: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(options.rounds):
        for which in NAMES:
            kib, microseconds = json.loads(place.worker(RUN, which, str(SOCKETS), str(MESSAGES)))
            memory[which].append(kib)
            time[which].append(microseconds)
    result.rows = [Row(f"{NAMES[which]}, idle", figures, "KiB/socket") for which, figures in memory.items()]
    result.rows += [Row(f"{NAMES[which]}, a ping", figures, "µs") for which, figures in time.items()]
    result.compare(f"{NAMES['ours']}, idle", f"{NAMES['loop']}, idle", 1, at_least=False)
    result.compare(f"{NAMES['ours']}, a ping", f"{NAMES['loop']}, a ping", 1, at_least=False)
    result.compare(f"{NAMES['ours']}, a ping", f"{NAMES['dispatch']}, a ping", 1, at_least=False)
    return result
