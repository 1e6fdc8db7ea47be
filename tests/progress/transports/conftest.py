"""What the tests of transports share."""

import pytest

from progress.delivery.connection import Connection
from progress.transports.asgi import AsgiSender
from tests.progress.transports.fake_socket import FakeSocket


@pytest.fixture
async def socket():
    return FakeSocket()


@pytest.fixture
async def connection(socket):
    connection = Connection(AsgiSender(socket.send))
    yield connection
    connection.lost()
