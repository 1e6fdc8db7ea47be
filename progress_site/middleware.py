"""The site's Content Security Policy."""

from http import HTTPStatus

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.http import HttpRequest, HttpResponseBase


class PolicyMiddleware(CSPMiddleware):
    """django-csp, but with the policy on our 404 pages in debug mode too; there it leaves them all out."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add the policy to a response."""
        response = super().process_response(request, response)
        match = request.resolver_match
        is_ours = response.status_code == HTTPStatus.NOT_FOUND and match is not None and match.app_name == "progress"
        if is_ours and HEADER not in response and (policy := build_policy()):
            response[HEADER] = policy
        return response
