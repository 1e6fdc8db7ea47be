"""The ASGI application: HTTP by Django, WebSockets by the progress app."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_site.settings")
http_application = get_asgi_application()  # calls django.setup(), which the import below needs

from progress.polling.asgi import Polls  # noqa: E402
from progress_site.health import Health  # noqa: E402
from progress_site.routing import websocket_application  # noqa: E402

application = ProtocolTypeRouter({"http": Health(Polls(http_application)), "websocket": websocket_application})
