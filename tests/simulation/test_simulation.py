"""Some hundred seeds of the simulation, in each mode; `make simulate` runs many more."""

import asyncio
import os
import subprocess
import sys

import pytest

from tests.installation import ROOT
from tests.sampling import first_quick
from tests.simulation.clock import Stuck, VirtualLoop
from tests.simulation.faults import FAULTS, planted
from tests.simulation.scenario import again, run
from tests.simulation.world import MODES

SEEDS = 100
AT_ONCE = 25


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
@pytest.mark.parametrize("mode", MODES)
def test_seeds__everybody_shows_the_truth_and_nothing_is_left(mode: str, first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        outcome = run(seed, mode)
        if outcome.violation:
            pytest.fail(f"{outcome}\n\nThis again: {again(seed, mode)}", pytrace=False)


@pytest.mark.parametrize("mode", first_quick(MODES))
def test_seeds__replay_exactly(mode: str) -> None:
    """Nothing depends on hashes or addresses, nor on the runs before."""
    command = [sys.executable, "-m", "tests.simulation", "--mode", mode, "--seeds=0-30", "--tell", "--keep-going"]
    stories = []
    for hash_seed in "1", "2":
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        stories.append(subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True).stdout)
    assert "connects" in stories[0]
    assert stories[0] == stories[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(FAULTS))
def test_planted_fault__is_found_within_a_thousand_seeds(name: str) -> None:
    with planted(name):
        assert any(run(seed, mode).violation for seed in range(1_000) for mode in FAULTS[name].modes)


# The clock


def test_clock__an_hour_takes_no_time() -> None:
    loop = VirtualLoop()
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.time() == 3600
    loop.close()


def test_clock__waiting_for_nothing_is_an_error() -> None:
    loop = VirtualLoop()
    with pytest.raises(Stuck):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_clock__a_loop_without_a_pause_is_an_error() -> None:
    async def spin() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    loop = VirtualLoop()
    spinning = loop.create_task(spin())
    with pytest.raises(Stuck):
        loop.run_until_complete(spinning)
    spinning.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(spinning)
    loop.close()
