"""Random attempts with tokens that narrow what their user may see, or grant jobs to nobody in particular: no leak."""

from random import Random

import pytest
from django.contrib.auth.models import User

from progress.identity import tokens
from tests.progress.access_model import NAMES, Facts
from tests.progress.test_access_model import Attempts, asked_by_hand, unlimited
from tests.progress.watching import bearer, run

__all__ = ["asked_by_hand", "unlimited"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("asked_by_hand", "unlimited")]

# What tokens name, by who has them: whose they are, if anybody's, and ids or beginnings of ids.
GRANTS: dict[str, tuple[str | None, list[str]]] = {
    "ann, some": ("ann", ["job-0", "job-3", "job-x"]),
    "ann, others": ("ann", ["job-1", "job-2", "job-3"]),
    "bob, all": ("bob", ["job-*"]),
    "a guest": (None, ["job-0", "job-3", "job-x"]),
    "another guest": (None, ["job-1", "job-5"]),
    "a guest of all": (None, ["job-*"]),
}


class FactsOfTokens(Facts):
    def sees(self, name: str | None, job_id: str) -> bool:
        if name not in GRANTS:
            return super().sees(name, job_id)
        user, named = GRANTS[name]
        is_named = job_id in named or "job-*" in named
        return is_named and (job_id in self.jobs if user is None else super().sees(user, job_id))

    def enters(self, name: str | None) -> bool:
        return super().enters(GRANTS[name][0] if name in GRANTS else name)

    def owned(self, name: str | None) -> set[str]:
        owned = super().owned(GRANTS[name][0] if name in GRANTS else name)
        return {job_id for job_id in owned if self.sees(name, job_id)}


class AttemptsWithTokens(Attempts):
    def headers(self, name: str | None) -> list[tuple[bytes, bytes]]:
        return [] if name is None else [bearer(self.shown[name][1])]


def token_of(name: str) -> str:
    user, named = GRANTS.get(name, (name, None))
    return tokens.issue_token(None if user is None else User.objects.get(username=user), named, "all")


async def attempt(count: int, seed: int) -> None:
    chance, facts = Random(seed), FactsOfTokens()
    await run(facts.begin)(chance)
    whom = [*GRANTS, *NAMES]
    attempts = AttemptsWithTokens(facts, chance, {name: ("", await run(token_of)(name)) for name in whom})
    ways = [attempts.url, attempts.message, attempts.many, attempts.feed, attempts.stays]
    for _ in range(count):
        name = chance.choice(whom)
        if facts.enters(name) or GRANTS.get(name, (name,))[0] is None:  # all others would be refused at once
            await chance.choice(ways)(name)
        if chance.random() < 0.5:
            await run(facts.change)(chance)
    assert {"url", "message", "many"} <= attempts.said.keys(), "each has refused something"


async def test_attempts__leak_nothing() -> None:
    await attempt(60, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2))
async def test_thousands_of_attempts__leak_nothing(seed: int) -> None:
    await attempt(2_000, seed=100 + seed)
