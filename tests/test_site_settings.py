"""What the site refuses to start with, in words."""

import os
import subprocess
import sys

import pytest

from tests.installation import ROOT


def start(**settings: str) -> "subprocess.CompletedProcess[str]":
    foreign = "DJANGO_", "DATABASE_", "REDIS_"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env = {**kept, "DJANGO_DEBUG": "1", "DJANGO_SETTINGS_MODULE": "progress_site.settings", **settings}
    read = "from django.conf import settings as s; print(s.SECURE_PROXY_SSL_HEADER, s.CSRF_TRUSTED_ORIGINS)"
    return subprocess.run([sys.executable, "-c", read], cwd=ROOT, env=env, capture_output=True, text=True)


def test_settings__of_a_proxy() -> None:
    done = start(
        DJANGO_SECURE_PROXY_SSL_HEADER="HTTP_X_FORWARDED_PROTO,https",
        DJANGO_CSRF_TRUSTED_ORIGINS="https://example.org,https://*.example.org:8443",
    )
    assert done.stdout.strip() == (
        "('HTTP_X_FORWARDED_PROTO', 'https') ['https://example.org', 'https://*.example.org:8443']"
    ), done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DJANGO_SECURE_PROXY_SSL_HEADER", "X-Forwarded-Proto,https"),
        ("DJANGO_SECURE_PROXY_SSL_HEADER", "HTTP_X_FORWARDED_PROTO"),
        ("DJANGO_CSRF_TRUSTED_ORIGINS", "example.org"),
        ("DJANGO_CSRF_TRUSTED_ORIGINS", "https://example.org/"),
        ("DJANGO_SECURE_HSTS_SECONDS", "-1"),
        ("DJANGO_SECURE_HSTS_SECONDS", "a year"),
        ("DATABASE_CONN_MAX_AGE", "-1"),
    ],
)
def test_settings__that_are_wrong_are_named(name: str, value: str) -> None:
    done = start(**{name: value})
    assert done.returncode == 1
    assert name in done.stderr.splitlines()[-1]
