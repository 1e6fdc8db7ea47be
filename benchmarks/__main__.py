"""Runs the benchmarks: all of them, or those that are named.

python -m benchmarks [--quick] [--write] [claim …]
"""

import argparse
import importlib.util
import signal
import sys
import time

from benchmarks import harness

CLAIMS = (
    "fanout_500",
    "fanout_4000",
    "thousand_jobs",
    "latency",
    "doorbell",
    "idle_memory",
    "reconnect_storm",
    "slow_watchers",
    "strangers",
    "access",
    "cluster_limits",
    "refused_alike",
    "consumer",
    "write_path",
    "joint_writes",
    "tracking",
    "undisturbed",
    "cancelling",
    "many_reporters",
    "live_text",
    "time_left",
    "pruning",
    "small_log",
    "feed_storm",
    "two_servers",
    "proxies",
    "where_time_goes",
)
NEEDED = ("picows", "fastapi", "uvicorn", "tqdm", "pytest")


def main() -> int:
    """Measure, show, and write if asked; return 1 if a benchmark failed, as ours does if it loses one event."""
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
    if missing:
        print(f"Missing: {', '.join(missing)}. Run: pip install -r benchmarks/requirements.txt", file=sys.stderr)
        return 2
    if len(harness.CORES) == 1:
        print("One core only: server and load client share it, so the figures are lower and the ratios closer.")
    return _measure(options)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what we claim.")
    parser.add_argument("claims", nargs="*", metavar="claim", help=f"which: {', '.join(CLAIMS)}; all unless given")
    parser.add_argument("--quick", action="store_true", help="short rounds: does it work, rather than how fast")
    parser.add_argument("--rounds", type=int, help="how many rounds")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its plots")
    options = parser.parse_args()
    if unknown := set(options.claims) - set(CLAIMS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CLAIMS)}")
    return options


def _measure(asked: argparse.Namespace) -> int:
    from benchmarks import report
    from benchmarks.options import Options

    results, failed = [], []
    for name in asked.claims or CLAIMS:
        print(f"\n{name} …", flush=True)
        began = time.monotonic()
        with harness.folder() as folder:
            options = Options.quick(folder) if asked.quick else Options(folder)
            options.rounds = asked.rounds or options.rounds
            try:
                result = importlib.import_module(f"benchmarks.{name}").measure(options)
            except (harness.Lost, RuntimeError, TimeoutError) as error:
                print(f"  FAILED: {error}", flush=True)
                failed.append(name)
                continue
        report.show(result)
        print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
        results.append(result)
    if asked.write and results:
        report.write(results, CLAIMS, " ".join(["python -m benchmarks", *sys.argv[1:]]))
    missed = [ratio for result in results for ratio in result.ratios if not ratio.is_met]
    print(f"\n{len(missed)} targets missed, {len(failed)} benchmarks failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
