"""The pages: recent jobs, and one job, both live."""

from django.http import HttpRequest, HttpResponse


def job_list(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def job_page(request: HttpRequest, job_id: str) -> HttpResponse:
    return HttpResponse()
