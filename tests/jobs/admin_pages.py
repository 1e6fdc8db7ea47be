"""The pages of the admin, and who visits them."""

from django.contrib.auth.models import Permission, User
from django.test import Client

LIST = "/admin/jobs/processingjob/"
ADD = f"{LIST}add/"


def detail(job_id: str) -> str:
    return f"{LIST}{job_id}/change/"


def staff(*permissions: str) -> Client:
    user = User.objects.create(username=f"staff-{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{name}_processingjob" for name in permissions]))
    client = Client()
    client.force_login(user)
    return client


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()
