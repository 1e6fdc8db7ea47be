"""The two forms of the one GET, answered at once: under WSGI, and the same under ASGI."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from progress.identity.tokens import issue_token
from progress.polling import log
from tests.progress.polling import asking
from tests.progress.polling.asking import MINE, ask, seqs, url

pytestmark = pytest.mark.django_db

MakeJob = Callable[..., ProcessingJobLifecycle]


@pytest.fixture
def job(make_job: MakeJob) -> ProcessingJobLifecycle:
    """A public job at seq 5, of which 4 is a log line."""
    job = make_job("job-1", status="in_progress", public=True)
    job.mark_progress(10)
    job.log("half of it")
    job.mark_progress(20)
    return job


def test_snapshot__says_where_the_job_stands(client: Client, job: ProcessingJobLifecycle) -> None:
    answer = client.get(url("job-1")).json()
    (frame,) = answer.pop("events")
    stored = ProcessingJob.objects.get()
    assert answer == {"epoch": stored.epoch, "seq": 5, "wave": None, "end": False}
    assert (frame["type"], frame["progress"], frame["seq"], frame["recovered"]) == ("snapshot", 20, 5, False)


def test_position__what_follows_it(client: Client, job: ProcessingJobLifecycle) -> None:
    epoch = ProcessingJob.objects.get().epoch
    begin = {"epoch": epoch, "seq": 0}
    plain, logs = client.get(url("job-1", begin)).json(), client.get(url("job-1", begin, logs=1)).json()
    assert seqs(plain) == [1, 2, 3, 5]
    assert seqs(logs) == [1, 2, 3, 4, 5]
    assert plain["seq"] == logs["seq"] == 5
    assert client.get(url("job-1", plain)).json() == {**plain, "events": []}


def test_end__is_said_where_the_job_stands(client: Client, job: ProcessingJobLifecycle) -> None:
    job.mark_completed()
    assert client.get(url("job-1")).json()["end"] is True
    assert client.get(url("job-1", {"epoch": ProcessingJob.objects.get().epoch, "seq": 3})).json()["end"] is True


def test_pages__hold_every_event_once_and_in_order(client: Client, job: ProcessingJobLifecycle) -> None:
    for number in range(600):
        job.mark_progress(number / 10)
    answer: dict[str, Any] = {"epoch": ProcessingJob.objects.get().epoch, "seq": 100}
    reached = []
    while not reached or answer["events"]:
        answer = client.get(url("job-1", answer)).json()
        reached.append(answer["seq"])
        if answer["events"]:
            assert seqs(answer) == list(range(seqs(answer)[0], answer["seq"] + 1))
    assert reached == [256, 512, 605, 605]


def test_pages__go_back_further_than_a_replay(client: Client, job: ProcessingJobLifecycle, settings: Any) -> None:
    settings.PROGRESS_REPLAY_EVENTS = 1
    assert seqs(client.get(url("job-1", {"epoch": ProcessingJob.objects.get().epoch, "seq": 0})).json()) == [1, 2, 3, 5]


def test_wave__is_not_waited_for_under_wsgi(client: Client, job: ProcessingJobLifecycle) -> None:
    begin = {"epoch": ProcessingJob.objects.get().epoch, "seq": 5}
    assert client.get(url("job-1", begin, wave=99)).json() == {**begin, "wave": None, "end": False, "events": []}


GONE = {
    "another epoch": lambda epoch: (f"{epoch[:-1]}x", 1),
    "ahead of the log": lambda epoch: (epoch, 6),
    "far ahead of the log": lambda epoch: (epoch, 2**63 - 1),
    "no longer kept": lambda epoch: (epoch, 1),
}


@pytest.mark.parametrize("case", GONE)
def test_position__from_which_nobody_can_go_on_is_gone(client: Client, job: ProcessingJobLifecycle, case: str) -> None:
    JobEvent.objects.filter(seq=2).delete()
    epoch, seq = GONE[case](ProcessingJob.objects.get().epoch)
    answer = client.get(url("job-1", {"epoch": epoch, "seq": seq}))
    assert (answer.status_code, answer.json()["code"]) == (410, "position_gone")
    assert client.get(url("job-1", after=epoch)).status_code == 200


def test_unknown_and_hidden_jobs__are_alike_in_every_byte(client: Client, make_job: MakeJob) -> None:
    make_job("secret", status="in_progress")
    epoch = ProcessingJob.objects.get().epoch
    positions = None, {"epoch": epoch, "seq": 1}, {"epoch": epoch, "seq": 99}
    wanted = [url(job_id, position) for job_id in ("secret", "nobody", "-", "x" * 65) for position in positions]
    answers = [client.get(where) for where in wanted]
    assert {(answer.status_code, answer.content, str(answer.headers)) for answer in answers} == {
        (404, answers[0].content, str(answers[0].headers))
    }
    assert answers[0].json() == {"type": "error", "error": "Job not found", "code": "job_not_found", "temporary": False}


def test_public_form__never_looks_at_credentials(client: Client, make_job: MakeJob) -> None:
    ann = User.objects.create_user("ann")
    make_job("secret", owner=ann)
    client.force_login(ann)
    token = issue_token(ann)
    for headers in (
        {"Origin": "http://testserver"},
        {"Authorization": f"Bearer {token}"},
        {"Authorization": "Bearer x"},
    ):
        assert client.get(url("secret"), headers=headers).status_code == 404


OWN_PAGE = [{"Origin": "http://testserver"}, {"Sec-Fetch-Site": "same-origin"}]


@pytest.mark.parametrize("headers", OWN_PAGE, ids=str)
def test_private_form__session_of_a_page_of_the_site(
    client: Client, make_job: MakeJob, headers: dict[str, str]
) -> None:
    ann = User.objects.create_user("ann")
    make_job("secret", owner=ann)
    assert client.get(url("secret", form="private"), headers=headers).status_code == 404
    client.force_login(ann)
    assert client.get(url("secret", form="private"), headers=headers).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none"}], ids=str)
def test_private_form__cookie_alone_counts_for_nothing(
    client: Client, make_job: MakeJob, headers: dict[str, str]
) -> None:
    ann = User.objects.create_user("ann")
    make_job("secret", owner=ann)
    client.force_login(ann)
    assert client.get(url("secret", form="private"), headers=headers).status_code == 404


def test_private_form__page_of_another_site_is_refused(client: Client, make_job: MakeJob) -> None:
    make_job("job-1", public=True)
    answer = client.get(url("job-1", form="private"), headers={"Origin": "https://elsewhere.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


def test_private_form__token(client: Client, make_job: MakeJob) -> None:
    ann, bob = (User.objects.create_user(name) for name in ("ann", "bob"))
    make_job("secret", owner=ann)
    statuses = [
        client.get(url("secret", form="private"), headers={"Authorization": f"Bearer {token}"}).status_code
        for token in (issue_token(ann), issue_token(bob), "nonsense")
    ]
    assert statuses == [200, 404, 401]


def test_private_form__needs_a_url_of_the_clients_own(client: Client, make_job: MakeJob) -> None:
    make_job("job-1", public=True)
    assert client.get("/progress/private/job-1").status_code == 400
    assert client.get(f"/progress/private/{MINE}/job-1").status_code == 200


PUBLIC_CACHING = {"whole": "public, max-age=60, immutable", "live": "public, max-age=10"} | dict.fromkeys(
    ("snapshot", "empty", "gone", "unknown", "bad", "post"), "public, max-age=1"
)


def each_answer(client: Client, job: ProcessingJobLifecycle, form: str) -> dict[str, Any]:
    for number in range(255):
        job.mark_progress(number / 10)
    epoch = ProcessingJob.objects.get().epoch
    at = {
        name: {"epoch": epoch, "seq": seq} for name, seq in {"whole": 0, "live": 256, "empty": 260, "gone": 999}.items()
    }
    answers = {name: client.get(url("job-1", position, form)) for name, position in at.items()}
    bad, unknown = client.get(f"{url('job-1', form=form)}/x"), client.get(url("nobody", form=form))
    post, snapshot = client.post(url("job-1", form=form)), client.get(url("job-1", form=form))
    return answers | {"bad": bad, "unknown": unknown, "post": post, "snapshot": snapshot}


@pytest.mark.parametrize("form", ["public", "private"])
def test_headers__are_all_that_caches_need_to_know(client: Client, job: ProcessingJobLifecycle, form: str) -> None:
    for name, answer in each_answer(client, job, form).items():
        headers = dict(answer.headers)
        expected = PUBLIC_CACHING[name] if form == "public" else "private, no-store"
        assert headers.pop("Cache-Control") == expected, name
        assert headers.pop("Access-Control-Allow-Origin", None) == ("*" if form == "public" else None)
        assert headers.pop("Allow", None) == ("GET, HEAD" if name == "post" else None)
        assert headers == {
            "Content-Type": "application/json",
            "Content-Length": str(len(answer.content)),
            "X-Content-Type-Options": "nosniff",
        }
        assert not answer.cookies


def test_page_seconds__bound_how_long_anything_is_kept(
    client: Client, job: ProcessingJobLifecycle, settings: Any
) -> None:
    settings.PROGRESS_PAGE_SECONDS = 5
    answers = each_answer(client, job, "public")
    assert answers["whole"].headers["Cache-Control"] == "public, max-age=5, immutable"
    assert answers["live"].headers["Cache-Control"] == "public, max-age=5"


def test_whole_page__is_the_same_for_good(client: Client, job: ProcessingJobLifecycle) -> None:
    whole = each_answer(client, job, "public")["whole"]
    job.mark_completed()
    again = client.get(url("job-1", {"epoch": whole.json()["epoch"], "seq": 0}))
    assert again.content == whole.content
    assert (whole.json()["wave"], whole.json()["end"]) == (None, False)


def test_trouble__is_kept_by_no_cache(
    client: Client, job: ProcessingJobLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (OperationalError("locked"), RuntimeError("a bug")):

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(log.selectors, "get_jobs", fail)
        for form in ("public", "private"):
            answer = client.get(url("job-1", form=form))
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert (answer.headers["Cache-Control"], answer.headers["Retry-After"]) == ("no-store", "1")


def test_policy_that_fails__is_unavailable(client: Client, job: ProcessingJobLifecycle, settings: Any) -> None:
    settings.JOBS_ACCESS_POLICY = f"{__name__}.Failing"
    assert client.get(url("job-1")).status_code == 503


class Failing:
    def may_view(self, user: Any, job: Any) -> bool:
        raise RuntimeError("no directory")


def test_job_that_can_not_be_shown__is_unavailable(client: Client, job: ProcessingJobLifecycle) -> None:
    ProcessingJob.objects.update(progress=200)
    assert client.get(url("job-1")).status_code == 503


def test_event_that_can_not_be_shown__is_gone(client: Client, job: ProcessingJobLifecycle) -> None:
    JobEvent.objects.filter(seq=3).update(progress=200)
    begin = {"epoch": ProcessingJob.objects.get().epoch, "seq": 0}
    assert client.get(url("job-1", begin)).status_code == 410
    assert seqs(client.get(url("job-1", {**begin, "seq": 3})).json()) == [5]


@pytest.mark.django_db(transaction=True)
async def test_asgi__answers_the_same_and_names_a_window(polls: asking.Client) -> None:
    job = await ProcessingJobLifecycle.acreate("job-1", public=True)
    await job.amark_started()
    snapshot = await ask(polls, url("job-1"))
    answer = await ask(polls, url("job-1", {**snapshot, "seq": 0}))
    assert seqs(answer) == [1, 2]
    assert snapshot["wave"] is not None
