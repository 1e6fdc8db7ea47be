"""The URLs of the pages, and of the log over HTTP."""

from django.templatetags.static import static
from django.urls import path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from . import views
from .polling import urls as polling

icon = lazy(static, str)("progress/icon.svg")  # resolved at use: the static files may not be collected yet

app_name = "progress"

urlpatterns = [
    path("", views.job_list, name="list"),
    path("jobs/<str:job_id>/", views.job_page, name="job"),
    *polling.urlpatterns,
    path("favicon.ico", RedirectView.as_view(url=icon)),  # browsers request it on pages without an icon: the admin's
]
