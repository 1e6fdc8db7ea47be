"""The project's URLs."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("live/", include("host.background.progress.urls"))]
