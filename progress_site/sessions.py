"""The site's sessions."""

from django.conf import settings
from django.contrib.sessions import middleware
from django.http import HttpRequest


class SessionMiddleware(middleware.SessionMiddleware):
    """Django's own, which passes over a cookie that no session store could have made.

    PostgreSQL refuses to look for a key with a NUL in it, so anybody could have an error 500, and its traceback in the
    log, for each request.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Give the request its session."""
        if not request.COOKIES.get(settings.SESSION_COOKIE_NAME, "").isprintable():
            del request.COOKIES[settings.SESSION_COOKIE_NAME]
        super().process_request(request)
