"""The ways to withdraw access, each from a user of its own; run by a worker, which is told of one way a line.

It makes them first, and prints their sessions' keys. Each way then is a line of input, and the time at which it was
committed a line of output. Those of ``TOLD`` go through Django, whose signals hurry the servers.
"""

import json
import sys
import time
from importlib import import_module

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import connection

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob

User = get_user_model()
VIEW = Permission.objects.get(codename="view_processingjob")


def user_of(way: str):
    return User.objects.get(username=way)


def edited(instance, **values) -> None:
    for name, value in values.items():
        setattr(instance, name, value)
    instance.save()


def sql(statement: str, *values) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def new_password(way: str) -> None:
    user = user_of(way)
    user.set_password("another")
    user.save()


def deleted_by_sql(way: str) -> None:
    pk = user_of(way).pk
    sql("UPDATE jobs_processingjob SET owner_id = NULL WHERE owner_id = %s", pk)
    sql("DELETE FROM auth_user WHERE id = %s", pk)


TOLD = {
    "password": new_password,
    "deactivated": lambda way: edited(user_of(way), is_active=False),
    "deleted": lambda way: user_of(way).delete(),
    "staff": lambda way: edited(user_of(way), is_staff=False),
    "group": lambda way: user_of(way).groups.clear(),
    "permission": lambda way: Group.objects.get(name=way).permissions.clear(),
    "owner": lambda way: edited(ProcessingJob.objects.get(pk=f"job-{way}"), owner=None),
    "public": lambda way: edited(ProcessingJob.objects.get(pk=f"job-{way}"), public=False),
}
BY_SQL = {
    "sql-session": lambda way: sql("DELETE FROM django_session WHERE session_key = %s", KEYS[way]),
    "sql-password": lambda way: sql("UPDATE auth_user SET password = 'x' WHERE username = %s", way),
    "sql-deactivated": lambda way: sql("UPDATE auth_user SET is_active = false WHERE username = %s", way),
    "sql-deleted": deleted_by_sql,
    "sql-staff": lambda way: sql("UPDATE auth_user SET is_staff = false WHERE username = %s", way),
    "sql-group": lambda way: sql("DELETE FROM auth_user_groups WHERE user_id = %s", user_of(way).pk),
    "sql-permission": lambda way: sql(
        "DELETE FROM auth_group_permissions WHERE group_id = %s", Group.objects.get(name=way).pk
    ),
    "sql-owner": lambda way: sql("UPDATE jobs_processingjob SET owner_id = NULL WHERE id = %s", f"job-{way}"),
    "sql-public": lambda way: sql("UPDATE jobs_processingjob SET public = false WHERE id = %s", f"job-{way}"),
}
STAYS = "stays-owner", "stays-group", "stays-public"
BY_GROUP = "staff", "group", "permission"


def make(way: str) -> str:
    """Make a user, and a job that they may see for the one reason that the way takes away; return their session."""
    kind = way.rpartition("-")[2]  # only staff can sign out of the admin
    user = User.objects.create(username=way, password="same", is_staff=kind in (*BY_GROUP, "logout"))
    if kind in BY_GROUP:
        group = Group.objects.create(name=way)
        group.permissions.add(VIEW)
        user.groups.add(group)
    owner = None if kind in (*BY_GROUP, "public") else user
    ProcessingJobLifecycle.create(f"job-{way}", owner=owner, public=kind == "public").mark_started()
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session.session_key


KEYS = {way: make(way) for way in ("logout", *TOLD, *BY_SQL, *STAYS)}
print(json.dumps({"keys": KEYS, "told": ["logout", *TOLD], "by_sql": list(BY_SQL), "stay": list(STAYS)}), flush=True)
for line in sys.stdin:
    (TOLD | BY_SQL)[line.strip()](line.strip())
    print(time.time(), flush=True)
