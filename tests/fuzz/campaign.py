"""The attacks, each a property that hypothesis tries to break, and shrinks where it could."""

import itertools
import time
from collections.abc import Callable, Iterator

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import inputs
from tests.fuzz.target import Target

CHECK_EVERY = 20  # attacks


def attacks(target: Target) -> dict[str, Callable[[], None]]:
    """Return the properties by their names."""
    numbers = itertools.count(1)

    def attack(request: bytes, steps: list[inputs.Step]) -> None:
        target.attack(request, steps)
        if next(numbers) % CHECK_EVERY == 0:
            target.check()

    sane = inputs.paths.map(inputs.handshake)
    after_some = st.lists(inputs.steps, max_size=2)
    broken = st.lists(inputs.malformed | inputs.garbage, min_size=1, max_size=3)
    return {
        "commands": given(sane, st.lists(inputs.steps, max_size=6))(attack),
        "frames": given(sane, st.builds(list.__add__, after_some, broken))(attack),
        "handshakes": given(inputs.requests, after_some)(attack),
    }


def run(target: Target, examples: int, number: int) -> int:
    """Run each attack with so many examples, chosen by a number; return how many there were.

    Raises:
        AssertionError: Something does not hold; hypothesis prints what was sent.

    """
    options = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    for attack in attacks(target).values():
        seed(number)(options(attack))()
    return 3 * examples


def for_seconds(target: Target, seconds: float, first: int) -> Iterator[tuple[int, int]]:
    """Run rounds until the time is over; yield the number of each and how many attacks there have been."""
    until, done = time.monotonic() + seconds, 0
    for number in itertools.count(first):
        done += run(target, 100, number)
        yield number, done
        if time.monotonic() > until:
            return
