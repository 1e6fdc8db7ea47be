"""The addresses of the pages."""

from django.urls import path

from progress import views

app_name = "progress"

urlpatterns = [
    path("", views.job_list, name="list"),
    path("jobs/<str:job_id>/", views.job_page, name="job"),
]
