"""What the tests of the access guard share."""

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from progress.delivery import hubs
from tests.progress.identity.test_auth import cookie_of
from tests.progress.watching import ORIGIN, Socket, run

PATH = "/progress/ws/private"


async def asked() -> None:
    await hubs.current().guard.check()


async def cookie(user: User) -> tuple[tuple[bytes, bytes], ...]:
    name, value = await run(cookie_of)(user)
    return ORIGIN, (name.encode(), value.encode())


async def is_served(socket: Socket) -> bool:
    """Whether a socket that has a subscription still gets what happens."""
    await socket.send_json_to({"type": "ping"})
    return (await socket.next())["type"] == "pong"


def logout() -> None:
    Session.objects.all().delete()
