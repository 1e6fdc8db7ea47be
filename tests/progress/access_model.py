"""A model of who may see what, which knows nothing of the software: a rule over facts, and the facts, which change."""

from dataclasses import dataclass, field
from importlib import import_module
from random import Random
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, Permission, User

from jobs.models import ProcessingJob
from progress.identity import tokens

NAMES = "ann", "bob", "cat", "dan"
JOBS = tuple(f"job-{number}" for number in range(6))
UNKNOWN = "job-x"  # as long as the others, so that answers can be compared to the byte
GROUP = "viewers"


@dataclass
class Person:
    """What is true of a user."""

    is_active: bool = True
    is_staff: bool = False
    is_superuser: bool = False
    has_permission: bool = False
    is_member: bool = False


@dataclass
class Facts:
    """What is true now; each change of it is written to the database, past all code of ours."""

    people: dict[str, Person] = field(default_factory=lambda: {name: Person() for name in NAMES})
    jobs: dict[str, tuple[str | None, bool]] = field(default_factory=dict)  # whose, and whether public
    group_may: bool = True

    def sees(self, name: str | None, job_id: str) -> bool:
        """Tell whether somebody may see a job; None is a visitor."""
        if job_id not in self.jobs:
            return False
        owner, public = self.jobs[job_id]
        return public or (self.enters(name) and (owner == name or self._sees_all(self.people[str(name)])))

    def enters(self, name: str | None) -> bool:
        """Tell whether somebody is more than a visitor."""
        return name is not None and self.people[name].is_active

    def _sees_all(self, person: Person) -> bool:
        may = person.is_superuser or person.has_permission or (person.is_member and self.group_may)
        return person.is_staff and may

    def owned(self, name: str | None) -> set[str]:
        return {job_id for job_id, (owner, _) in self.jobs.items() if self.enters(name) and owner == name}

    # Changes

    def begin(self, chance: Random) -> None:
        group = Group.objects.create(name=GROUP)
        group.permissions.add(_permission())
        for name in NAMES:
            User.objects.create(username=name, password="same")
        for job_id in JOBS:
            ProcessingJob.objects.create(id=job_id, name="same")
            self.jobs[job_id] = None, False
        for _ in range(20):
            self.change(chance)

    def change(self, chance: Random) -> None:
        """Change one thing."""
        kinds = "job", "job", "flag", "flag", "permission", "member", "group", "there"
        getattr(self, f"_change_{chance.choice(kinds)}")(chance)

    def _change_job(self, chance: Random) -> None:
        job_id, owner, public = chance.choice(JOBS), chance.choice((None, *NAMES)), chance.random() < 0.3
        if job_id in self.jobs:
            self.jobs[job_id] = owner, public
            user = None if owner is None else User.objects.get(username=owner)
            ProcessingJob.objects.filter(pk=job_id).update(owner=user, public=public)

    def _change_there(self, chance: Random) -> None:
        job_id = chance.choice(JOBS)
        if job_id in self.jobs:
            del self.jobs[job_id]
            ProcessingJob.objects.filter(pk=job_id).delete()
        else:
            self.jobs[job_id] = None, False
            ProcessingJob.objects.create(id=job_id, name="same")

    def _change_flag(self, chance: Random) -> None:
        name, flag = chance.choice(NAMES), chance.choice(("is_active", "is_staff", "is_staff", "is_superuser"))
        value = chance.random() < (0.8 if flag == "is_active" else 0.4)
        setattr(self.people[name], flag, value)
        User.objects.filter(username=name).update(**{flag: value})

    def _change_permission(self, chance: Random) -> None:
        name = chance.choice(NAMES)
        self.people[name].has_permission = value = chance.random() < 0.5
        _set(User.objects.get(username=name).user_permissions, _permission(), value)

    def _change_member(self, chance: Random) -> None:
        name = chance.choice(NAMES)
        self.people[name].is_member = value = chance.random() < 0.5
        _set(User.objects.get(username=name).groups, Group.objects.get(name=GROUP), value)

    def _change_group(self, chance: Random) -> None:
        self.group_may = chance.random() < 0.5
        _set(Group.objects.get(name=GROUP).permissions, _permission(), self.group_may)


def _permission() -> Permission:
    return Permission.objects.get(codename="view_processingjob")


def _set(relation: Any, what: Any, value: bool) -> None:
    (relation.add if value else relation.remove)(what)


def credentials(name: str) -> tuple[str, str]:
    """Return a session's key and a token of a user; each stays as it is, whatever becomes of them."""
    user = User.objects.get(username=name)
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session.session_key, tokens.issue_token(user)


def epoch_of(job_id: str) -> str:
    """Return the stream of a job, which an attacker may know from before; of none, one that looks like it."""
    return ProcessingJob.objects.filter(pk=job_id).values_list("epoch", flat=True).first() or "0123456789abcdef"
