"""Users who are known by their mail, and of whom nobody is staff."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models


class Members(BaseUserManager["Member"]):
    """Makes members."""

    def create_user(self, mail: str, **fields: Any) -> "Member":
        """Make one."""
        member = self.model(mail=mail, **fields)
        member.set_unusable_password()
        member.save()
        return member


class Member(AbstractBaseUser, PermissionsMixin):
    """A user."""

    mail = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    USERNAME_FIELD = "mail"
    objects = Members()

    @property
    def is_staff(self) -> bool:
        """Whether the admin is for them."""
        return bool(self.is_superuser)
