"""The answers of the pages, without a browser."""

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from jobs.models import ProcessingJob

POLICY = "Content-Security-Policy"

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("debug", [True, False])
def test_not_found__has_the_policy_of_every_page(client: Client, settings: object, debug: bool) -> None:
    settings.DEBUG = debug  # type: ignore[attr-defined]
    answer = client.get("/jobs/nope/")
    assert answer.status_code == 404
    assert answer.headers[POLICY]
    assert answer.headers[POLICY] == client.get("/").headers[POLICY]


def test_favicon__leads_to_the_icon(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/static/progress/icon.")
    assert finders.find("progress/icon.svg")
    assert not ProcessingJob.objects.exists()
