"""Run seeds of the simulation: `python -m tests.simulation --mode redis-sqlite --seeds 0-10000`, or one with its story."""

import argparse
import os
import sys
import time
from collections import Counter


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from tests.simulation.scenario import run
    from tests.simulation.world import HAZARDS, MODES

    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--mode", choices=[*MODES, "all"], default="all")
    parser.add_argument("--seeds", default="0-100", help="from-to, or one seed, which prints its story")
    parser.add_argument("--without", nargs="*", default=[], metavar="HAZARD", help="; ".join(sorted(HAZARDS)))
    parser.add_argument("--keep-going", action="store_true", help="count what is found, instead of ending with the first")
    given = parser.parse_args()
    if unknown := set(given.without) - HAZARDS:
        parser.error(f"no such hazard: {', '.join(sorted(unknown))}")
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last) if last else int(first) + 1)
    found: Counter[str] = Counter()
    began = time.perf_counter()
    for mode in MODES if given.mode == "all" else [given.mode]:
        for seed in seeds:
            outcome = run(seed, mode, HAZARDS - set(given.without))
            if len(seeds) == 1 or (outcome.violation and not given.keep_going):
                print(outcome)
            if outcome.violation:
                found[mode] += 1
                print(f"{mode} {seed}: {outcome.violation[:180]}")
                if not given.keep_going:
                    return 1
    spent = time.perf_counter() - began
    print(f"{sum(found.values())} violations; {1000 * spent / len(seeds):.1f} ms a seed and all modes", dict(found))
    return bool(found)


sys.exit(main())
