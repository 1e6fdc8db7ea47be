"""The ASGI application: pages by Django, WebSockets and streams of events by the progress app."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_site.settings")
http_application = get_asgi_application()  # calls django.setup(), which the import below needs

from progress.polling.asgi import Polls  # noqa: E402
from progress_site.health import Health  # noqa: E402
from progress_site.routing import http_router, websocket_application  # noqa: E402

pages = Health(http_router(Polls(http_application)))
application = ProtocolTypeRouter({"http": pages, "websocket": websocket_application})
