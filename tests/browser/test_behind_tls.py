"""A real browser, over real TLS, through a real proxy: the lines for nginx, as docs/deployment.md has them."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.helpers import LIVE
from tests.certificates import certificate
from tests.conftest import MakeSite
from tests.documents import FENCE, PAGES
from tests.servers import free_port, wait_until

CREATE = 'from jobs.lifecycle import ProcessingJobLifecycle as L; L.create("job-1", public=True).mark_started()'
REPORT = 'from jobs.lifecycle import ProcessingJobLifecycle as L; L("job-1").mark_progress(42)'


@pytest.fixture(scope="module")
def nginx() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        pytest.skip("no nginx: install the package nginx")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def proxy(nginx: str, folder: Path) -> Iterator[int]:
    """The port of an nginx with the lines of docs/deployment.md, before ``http.sock`` in the folder."""
    (location,) = (code for language, code in FENCE.findall(PAGES["docs/deployment.md"]) if language == "nginx")
    port, (key, signed) = free_port(), certificate(folder)
    user = "user root;" if os.getuid() == 0 else ""  # who may open the socket
    config = folder / "nginx.conf"
    config.write_text(f"""
        {user} daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}
        http {{
            access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            server {{
                listen 127.0.0.1:{port} ssl; ssl_certificate {signed}; ssl_certificate_key {key};
                {location.replace("/run/site/http.sock", f"{folder}/http.sock")}
            }}
        }}""")
    process = subprocess.Popen([nginx, "-c", config, "-e", folder / "log"], stderr=subprocess.DEVNULL)
    wait_until((folder / "pid").exists, process, folder / "log")
    yield port
    process.send_signal(signal.SIGTERM)
    process.wait(10)


def test_page__is_live_over_tls_through_a_proxy(
    make_site: MakeSite, proxy: int, folder: Path, browser: Browser
) -> None:
    site = make_site("sqlite")
    site.worker(CREATE)
    path = folder / "http.sock"
    site.serve("-u", str(path), "--proxy-headers", DJANGO_SECURE_COOKIES="1", DJANGO_SECURE_SSL_REDIRECT="1")
    assert path.stat().st_mode & 0o777 == 0o660
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"https://localhost:{proxy}/jobs/job-1/")
    expect(page.locator("[data-part=connection]")).to_have_text(LIVE)
    site.worker(REPORT)
    expect(page.locator("[data-part=percent]")).to_have_text("42%")
    context.close()


@pytest.mark.parametrize(("scheme", "status"), [("https", 101), ("http", 403)])
def test_socket__is_opened_by_pages_of_the_scheme_that_the_proxy_says(
    make_site: MakeSite, proxy: int, folder: Path, scheme: str, status: int
) -> None:
    make_site("sqlite").serve("-u", str(folder / "http.sock"), "--proxy-headers")
    context = ssl.create_default_context(cafile=folder / "certificate.pem")
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", proxy), 20) as link,
        context.wrap_socket(link) as secure,
    ):
        secure.sendall(
            f"GET /progress/ws HTTP/1.1\r\nHost: localhost:{proxy}\r\nOrigin: {scheme}://localhost:{proxy}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert int(secure.recv(4096).split()[1]) == status
