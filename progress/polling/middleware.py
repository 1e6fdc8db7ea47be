"""Answers polls ahead of all other middleware, which would have caches keep an answer for each client, or none."""

from collections.abc import Callable

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse

from .urls import poll_at


def answer_polls(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer polls; to stand first in ``MIDDLEWARE``.

    Sessions, CSRF protection, compression, languages and the like add ``Vary``, cookies or an ``ETag``. Under ASGI,
    `progress.polling.asgi.Polls` around Django does the same, and needs no thread for each who waits.
    """

    def answered(request: HttpRequest) -> HttpResponse:
        poll = poll_at(request.path_info)
        if poll is None:
            return get_response(request)
        response: HttpResponse = async_to_sync(poll.func)(request, **poll.kwargs)
        return response

    return answered
