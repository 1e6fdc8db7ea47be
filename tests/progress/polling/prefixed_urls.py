"""The URLs of a site that has ours under a prefix."""

from django.urls import include, path

urlpatterns = [path("live/", include("progress.urls"))]
