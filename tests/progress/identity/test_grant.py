"""What a token admits to."""

import pytest

from progress.identity.grant import Grant


@pytest.mark.parametrize(
    ("job_id", "is_admitted"),
    [("job-1", True), ("job-12", False), ("job-", False), ("import-", True), ("import-7", True), ("Import-7", False)],
)
def test_admits__ids_and_beginnings(job_id: str, is_admitted: bool) -> None:
    grant = Grant.of({"jobs": ["job-1", "import-*"]}, has_user=False)
    assert grant is not None
    assert grant.admits(job_id) is is_admitted


@pytest.mark.parametrize(
    ("watch", "has_user", "feeds"),
    [
        ({"jobs": ["a"]}, False, set()),
        ({"jobs": ["a"], "feed": "all"}, False, {"mine", "all"}),
        ({"jobs": ["a"]}, True, {"mine", "all"}),
        ({"feed": "mine"}, True, {"mine"}),
        ({"feed": "all"}, True, {"mine", "all"}),
    ],
)
def test_admits_feed__all_includes_mine(watch: dict[str, object], has_user: bool, feeds: set[str]) -> None:
    grant = Grant.of(watch, has_user=has_user)
    assert grant is not None
    assert {name for name in ("mine", "all") if grant.admits_feed(name)} == feeds


def test_of__a_user_and_nothing_to_watch_is_not_narrowed() -> None:
    assert Grant.of(None, has_user=True) is None
    grant = Grant.of({"feed": "mine"}, has_user=True)
    assert grant is not None
    assert grant.admits("anything")


def test_grants__are_equal_by_what_they_name() -> None:
    """So an answer can be shared by who names the same, in whatever order."""
    one, same, other = (Grant.of({"jobs": jobs}, has_user=False) for jobs in (["a", "b"], ["b", "a"], ["a"]))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
