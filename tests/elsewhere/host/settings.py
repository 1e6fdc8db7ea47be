"""The settings of a project that knows nothing of ours."""

from django.urls import reverse

SECRET_KEY = "elsewhere"
DEBUG = True
INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "host.apps.AccountsConfig",
    "host.apps.WorkConfig",
    "host.apps.LiveConfig",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "host.urls"
ASGI_APPLICATION = "host.asgi.application"
ABSOLUTE_URL_OVERRIDES = {"work.processingjob": lambda job: reverse("progress:job", args=[job.pk])}
AUTH_USER_MODEL = "accounts.Member"
OPTIONS = {"transaction_mode": "IMMEDIATE"}  # as docs/deployment.md says
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "OPTIONS": OPTIONS}}
STATIC_URL = "static/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
