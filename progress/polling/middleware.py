"""Answers polls ahead of all other middleware, which would have caches keep an answer for each client, or none."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.decorators import sync_and_async_middleware

from . import views

POLLS = views.public, views.private


@sync_and_async_middleware
def answer_polls(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Answer polls; to stand first in ``MIDDLEWARE``.

    Sessions, CSRF protection, compression, languages and the like add ``Vary``, cookies or an ``ETag``. And one of them
    that is synchronous would hold a thread for as long as somebody waits.
    """
    if iscoroutinefunction(get_response):

        async def answered(request: HttpRequest) -> HttpResponseBase:
            match = _poll(request)
            response: HttpResponseBase = await (match.func(request, **match.kwargs) if match else get_response(request))
            return response

        return answered

    def answered_in_turn(request: HttpRequest) -> HttpResponseBase:
        match = _poll(request)
        if match is None:
            return get_response(request)
        view: Callable[..., Awaitable[HttpResponseBase]] = match.func
        return async_to_sync(view)(request, **match.kwargs)

    return answered_in_turn


def _poll(request: HttpRequest) -> ResolverMatch | None:
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return None
    return match if match.func in POLLS else None
