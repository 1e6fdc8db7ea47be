"""The project's settings; with `progress_site.environment`, the only module that reads the environment."""

import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse
from environs import Env, validate

from progress_site.environment import settings_from_environment

BASE_DIR = Path(__file__).resolve().parent.parent
env = Env()

DEBUG = env.bool("DJANGO_DEBUG", False)

SECRET_KEY = env.str("DJANGO_SECRET_KEY", "a-key-for-debugging-only" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "DJANGO_SECRET_KEY is not set. Give it a long random value, "
        "or set DJANGO_DEBUG=1 to try the project on your own machine."
    )

ALLOWED_HOSTS: list[str] = env.list("DJANGO_ALLOWED_HOSTS", [])
if not ALLOWED_HOSTS:
    if not DEBUG:
        raise ImproperlyConfigured(
            "DJANGO_ALLOWED_HOSTS is not set. Give it the host names that this site serves, "
            "separated by commas, or set DJANGO_DEBUG=1 to try the project on your own machine."
        )
    ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "daphne",  # first, since it replaces runserver
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "channels",
    "jobs",
    "progress",
    "demo",
]

MIDDLEWARE = [
    "progress.polling.middleware.answer_polls",  # first: what the others add would have no cache share the answers
    "django.middleware.security.SecurityMiddleware",
    "progress_site.middleware.PolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "progress_site.sessions.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "progress_site.urls"
ABSOLUTE_URL_OVERRIDES = {"jobs.processingjob": lambda job: reverse("progress:job", args=[job.pk])}
ASGI_APPLICATION = "progress_site.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def database() -> dict[str, Any]:
    """Return the database that DATABASE_URL names, or SQLite beside ``manage.py``."""
    url = env.str("DATABASE_URL", "") or f"sqlite:///{BASE_DIR / 'db.sqlite3'}"
    # Under ASGI each request has a thread of its own, so a connection that one keeps is never reused. The few threads
    # that read and write for asynchronous code keep theirs whatever this says.
    age = env.int("DATABASE_CONN_MAX_AGE", 0, validate=validate.Range(0))
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=age, conn_health_checks=True))
    except ValueError:  # without the URL, which may hold a password
        raise ImproperlyConfigured(
            "DATABASE_URL is not the URL of a database; write sqlite:///path or postgres://user:password@host/name."
        ) from None
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["OPTIONS"] = {
            # A deferred transaction that begins to write fails at once if another writer is active, whatever the
            # timeout; an immediate one waits its turn.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,  # seconds to wait for another writer
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    return config


def is_redis_url(url: str) -> bool:
    """Return whether a URL names a Redis, by host and port or by the path of a socket."""
    try:
        parts = urlsplit(url)
        named = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return named and (
        (parts.scheme in ("redis", "rediss") and bool(parts.hostname)) or (parts.scheme == "unix" and bool(parts.path))
    )


def proxy_header(parts: list[str]) -> tuple[str, str] | None:
    """Return the header by which a proxy marks HTTPS requests, and its value, for SECURE_PROXY_SSL_HEADER."""
    if not parts:
        return None
    if len(parts) != 2 or not parts[0].startswith("HTTP_") or not parts[1]:
        raise ImproperlyConfigured(
            "DJANGO_SECURE_PROXY_SSL_HEADER is a header as Django names it and its value: HTTP_X_FORWARDED_PROTO,https"
        )
    return parts[0], parts[1]


def trusted_origins(origins: list[str]) -> list[str]:
    """Return the origins whose pages may open sockets and send forms here."""
    for origin in origins:
        if not re.fullmatch(r"https?://[^\s/@]+", origin):
            raise ImproperlyConfigured(
                f"DJANGO_CSRF_TRUSTED_ORIGINS: {origin!r} is not an origin; write https://example.org or https://*.example.org."
            )
    return origins


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", "")
if REDIS_URL and not is_redis_url(REDIS_URL):
    raise ImproperlyConfigured(
        "REDIS_URL is not the URL of a Redis; write redis://host:6379/0, rediss:// for TLS, or leave it out."
    )
# Without Redis there is no channel layer: events cross processes through the database.
CHANNEL_LAYERS: dict[str, Any] = {}
if REDIS_URL:
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "progress.broker.redis_layer.PipelinedChannelLayer",
        "CONFIG": {
            "hosts": [
                {
                    "address": REDIS_URL,
                    "socket_connect_timeout": 2,  # seconds; a dead Redis must not delay the publisher
                    "health_check_interval": 10,  # seconds; notices a half-open connection
                }
            ]
        },
    }

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "progress:list"  # for a login without ?next=

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # serve static files from the apps, with no collectstatic step

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_SSL_REDIRECT = env.bool("DJANGO_SECURE_SSL_REDIRECT", False)
SECURE_HSTS_SECONDS = env.int("DJANGO_SECURE_HSTS_SECONDS", 0, validate=validate.Range(0))
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("DJANGO_SECURE_HSTS_INCLUDE_SUBDOMAINS", False)
SECURE_HSTS_PRELOAD = env.bool("DJANGO_SECURE_HSTS_PRELOAD", False)
# Without it, the scheme is the one that the server reports; `serve --proxy-headers` takes that from the proxy.
SECURE_PROXY_SSL_HEADER = proxy_header(env.list("DJANGO_SECURE_PROXY_SSL_HEADER", []))
CSRF_TRUSTED_ORIGINS = trusted_origins(env.list("DJANGO_CSRF_TRUSTED_ORIGINS", []))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("DJANGO_SECURE_COOKIES", not DEBUG)

# Everything comes from the site itself; no inline script or style runs.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
        "img-src": [SELF, "data:"],
    }
}

LOG_LEVEL = env.str("DJANGO_LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in logging.getLevelNamesMapping():
    raise ImproperlyConfigured("DJANGO_LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        # Anybody may send any Host, and Django has a traceback for each; the answer is 400, and the access log has it.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # DJANGO_LOG_LEVEL=DEBUG adds each connection, close code and event that had to be read from the log.
        **{
            name: {"handlers": ["console"], "level": LOG_LEVEL, "propagate": False}
            for name in ("jobs", "progress", "progress_site")
        },
    },
}

# Every PROGRESS_* setting, and those of the jobs app but for its policy, can be given in the environment.
globals().update(settings_from_environment(env))
