"""A real browser, over real TLS, through a real proxy: nginx, as deploy/ has it."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.helpers import LIVE
from tests.conftest import MakeSite
from tests.proxies import Proxy, proxy

CREATE = 'from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-1", public=True).mark_started()'
REPORT = 'from jobs.lifecycle import ProcessingJobLifecycle as L; L("job-1").mark_progress(42)'


@pytest.fixture
def nginx() -> Iterator[Proxy]:
    """An nginx, in a folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory() as name, closing(proxy("nginx", Path(name)).start()) as started:
        yield started


def test_page__is_live_over_tls_through_a_proxy(make_site: MakeSite, nginx: Proxy, browser: Browser) -> None:
    site = make_site("sqlite")
    site.worker(CREATE)
    path = nginx.folder / "1.sock"
    site.serve("-u", str(path), "--proxy-headers", DJANGO_SECURE_COOKIES="1", DJANGO_SECURE_SSL_REDIRECT="1")
    assert path.stat().st_mode & 0o777 == 0o660
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{nginx.url}/jobs/job-1/")
    expect(page.locator("[data-part=connection]")).to_have_text(LIVE)
    site.worker(REPORT)
    expect(page.locator("[data-part=percent]")).to_have_text("42%")
    context.close()
