"""The site's settings for the tests that run in this process.

pytest-django loads the settings before any ``conftest.py``, so what the environment must hold by
then is set here.
"""

import os
import tempfile
from pathlib import Path

os.environ["DJANGO_DEBUG"] = "1"
os.environ["DATABASE_CONN_MAX_AGE"] = "0"  # a connection that a thread keeps would hold the test database open

from progress_site.settings import *  # noqa: F403
from progress_site.settings import DATABASES

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, since threads and sockets open connections of their own, and each would get its own empty memory.
    DATABASES["default"]["TEST"] = {"NAME": Path(tempfile.gettempdir()) / f"progress-tests-{os.getpid()}.sqlite3"}

# A Redis given in the environment is for the tests that ask for one (`redis_server`).
REDIS_URL = ""
CHANNEL_LAYERS: dict[str, object] = {}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a slow hash protects nobody here
