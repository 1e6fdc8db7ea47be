"""Who does something to a job: a user, the holder of a token, a command, or the system itself."""

from typing import Any, NamedTuple, Self

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser

from . import validation
from .exceptions import InvalidValue
from .states import ActorKind


class Actor(NamedTuple):
    """Who does something, as it is kept: by a name that outlives the user.

    Args:
        kind: What it is.
        name: The user's name, the token's ``jti``, the command's name; of the system, which part of it, if known.
        user_id: The user who acts, or whose token it is.

    """

    kind: ActorKind
    name: str = ""
    user_id: Any = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()

    @classmethod
    def user(cls, user: AbstractBaseUser) -> Self:
        """Return the actor that a signed-in user is.

        Raises:
            InvalidValue: It is nobody who could be named: not signed in, or not saved.

        """
        user_id = saved_user_id(user, "actor")
        return cls(ActorKind.USER, _name(user.get_username()), user_id)

    @classmethod
    def token(cls, jti: str, user: AbstractBaseUser | None = None) -> Self:
        """Return the actor that the holder of a token is: the token is known, and perhaps whose it is."""
        return cls(ActorKind.TOKEN, _name(jti), None if user is None else saved_user_id(user, "token's user"))

    @classmethod
    def command(cls, name: str) -> Self:
        """Return the actor that a management command is."""
        return cls(ActorKind.COMMAND, _name(name))

    @classmethod
    def system(cls, part: str = "") -> Self:
        """Return the actor that code of the site is, which acts for nobody in particular."""
        return cls(ActorKind.SYSTEM, _name(part))


By = Actor | AbstractBaseUser | None  # who does it: nobody named is the system


def actor_of(by: By) -> Actor:
    """Return the actor that was named.

    Raises:
        InvalidValue: It is neither an actor, a saved user, nor None.

    """
    if by is None:
        return Actor.system()
    if isinstance(by, Actor):
        return by
    return Actor.user(by)


def saved_user_id(user: Any, what: str) -> Any:
    """Return the key of a user.

    Raises:
        InvalidValue: It is no user, or none that is saved, such as `AnonymousUser`.

    """
    if not isinstance(user, get_user_model()):
        raise InvalidValue(f"The {what} must be a user who is saved, not {type(user).__name__}.")
    if user.pk is None or user._state.adding:
        raise InvalidValue(f"The {what} must be a user who is saved; this one is not.")
    return user.pk


def _name(name: object) -> str:
    return validation.fitting_text(name, validation.MAX_ACTOR)
