"""The site's Content Security Policy in debug mode: on our own page of what is not there, not on Django's of errors."""

from types import SimpleNamespace
from typing import Any

import pytest
from csp.constants import HEADER
from django.http import HttpRequest, HttpResponse

from progress_site.middleware import PolicyMiddleware


@pytest.mark.parametrize(
    ("status", "app", "has_policy"),
    [(200, "admin", True), (404, "progress", True), (404, "admin", False), (500, "progress", False)],
)
def test_policy__leaves_djangos_pages_of_errors_as_they_are(
    status: int, app: str, has_policy: bool, settings: Any
) -> None:
    settings.DEBUG = True
    request = HttpRequest()
    request.resolver_match = SimpleNamespace(app_name=app)  # type: ignore[assignment]
    response = PolicyMiddleware(lambda _: HttpResponse(status=status))(request)
    assert (HEADER in response) == has_policy
