"""Changes of several jobs, written together within a transaction of the caller's."""

import contextlib
from typing import Any

import pytest
from django.db import Error, OperationalError, transaction

from jobs.batch import write_together
from jobs.exceptions import InvalidTransition
from jobs.lifecycle import ProcessingJobLifecycle
from tests.jobs.batches import JOBS, failing, pending, said
from tests.jobs.records import assert_whole

pytestmark = pytest.mark.django_db(transaction=True)


def test_within__told_when_it_commits(running: Any, committed: list[Any]) -> None:
    with transaction.atomic():
        assert write_together([pending(lifecycle, 10, "a") for lifecycle in running]) == [None] * JOBS
        assert committed == []
    for lifecycle in running:
        assert said(lifecycle) == [10, "a"]
        assert_whole(lifecycle.job_id)
    assert len(committed) == 2 * JOBS


def test_within__rolled_back_it_may_be_handed_in_again(running: Any, committed: list[Any]) -> None:
    batch = [pending(lifecycle, 10, "a") for lifecycle in running]
    with contextlib.suppress(KeyError), transaction.atomic():
        write_together(batch)
        raise KeyError
    assert committed == []
    assert write_together(batch) == [None] * JOBS
    assert said(running[0]) == [10, "a"]
    assert_whole(running[0].job_id)


def test_within__what_is_refused_leaves_the_rest(running: Any) -> None:
    ProcessingJobLifecycle(running[1].job_id).mark_failed()
    with transaction.atomic():
        answers = write_together([pending(lifecycle, "a", 10) for lifecycle in running])
    assert [type(answer) for answer in answers] == [type(None), InvalidTransition, type(None), type(None)]
    assert said(running[1]) == [0]
    assert said(running[2]) == ["a", 10]


def test_within__an_error_of_the_database_is_the_callers(running: Any) -> None:
    with failing("INSERT", OperationalError("database is locked")), pytest.raises(Error), transaction.atomic():
        write_together([pending(lifecycle, 10, "a") for lifecycle in running])
    assert said(running[0]) == []
