"""Run seeds of the simulation (`--mode redis-sqlite --seeds 0-10000`), or one (`--seeds 17`) with its story."""

import argparse
import itertools
import os
import sys
import time


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from tests.simulation.faults import FAULTS, planted
    from tests.simulation.scenario import again, run
    from tests.simulation.world import HAZARDS, MODES

    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--mode", choices=[*MODES, "all"], default="all")
    parser.add_argument("--seeds", default="0-100", help="from-to, or one seed, which prints its story")
    parser.add_argument("--without", nargs="*", choices=sorted(HAZARDS), default=[], help="what does not happen")
    parser.add_argument("--plant", choices=[*FAULTS], default="", help="a fault to put into the software")
    parser.add_argument("--keep-going", action="store_true", help="tell all that is found, not only the first")
    parser.add_argument("--tell", action="store_true", help="print every story")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last) if last else int(first) + 1)
    found = 0
    began = time.perf_counter()
    modes = MODES if given.mode == "all" else (given.mode,)
    with planted(given.plant):
        for mode, seed in itertools.product(modes, seeds):
            outcome = run(seed, mode, HAZARDS - set(given.without))
            if given.tell or len(seeds) == 1 or (outcome.violation and not given.keep_going):
                print(outcome)
            if outcome.violation:
                found += 1
                print(f"{mode} {seed}: {outcome.violation}")
                if not given.keep_going:
                    print(f"This again: {again(seed, mode)}")
                    return 1
    if len(seeds) > 1 and not given.tell:
        spent = (time.perf_counter() - began) / len(seeds) / len(modes)
        print(f"{found} of {len(seeds) * len(modes)} runs ended with a violation; {1000 * spent:.1f} ms a run")
    return bool(found)


sys.exit(main())
