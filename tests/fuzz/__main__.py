"""Attack a server for a while: ``make fuzz ARGS="--seconds 600"``; the seed of a round makes it again."""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from tests.fuzz.campaign import for_seconds
    from tests.fuzz.target import Target
    from tests.installation import Site

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long; one round takes some")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the first round")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="progress-fuzz-") as folder:
        site = Site(f"sqlite:///{folder}/db.sqlite3", Path(folder))
        site.manage("migrate", "--verbosity=0")
        try:
            target = Target(site)
            try:
                for number, done in for_seconds(target, given.seconds, given.seed):
                    print(f"seed {number}: {done:,} attacks, nothing found", flush=True)
                target.finish()
            finally:
                target.leave()
        finally:
            site.close()
    return 0


sys.exit(main())
