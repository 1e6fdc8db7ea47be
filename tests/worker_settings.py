"""The site's settings for a worker that serves nothing: the import of Daphne is a third of such a process's start."""

from progress_site.settings import *  # noqa: F403
from progress_site.settings import INSTALLED_APPS

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "daphne"]
