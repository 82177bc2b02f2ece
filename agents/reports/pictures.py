"""Pictures of a report's figures as files, for documents that show no pages: drawn by a headless browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from agents.errors import HecatonError, InvalidRequest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 120
"""For all figures of a page on a busy machine; ten take about five."""
_VIRTUAL_MS = 20_000
"""Time that the page may see pass; it takes as long as the drawing does, for it waits for nothing."""
_PICTURE = re.compile(r'<pre id="picture-([\w-]+)">(.*?)</pre>', re.DOTALL)
_ERRORS = re.compile(r'<html[^>]* data-errors="([^"]*)"')


class BrowserFailed(HecatonError):
    """The browser did not end well, or the page recorded an error."""


def find_browser() -> str:
    """Return the path of a browser that can run without a screen; raises InvalidRequest when there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise InvalidRequest("pictures of figures need the program chromium: run cluster/install-programs")
    return found


def drawn_page(page: Path, fragment: str = "") -> str:
    """Open *page* in a headless browser without a network and return its document once it has been drawn.

    Raises InvalidRequest without a browser, BrowserFailed when it fails or the page recorded an error.
    """
    address = page.absolute().as_uri() + fragment
    with tempfile.TemporaryDirectory(prefix="hecaton-browser-") as profile:
        command = [
            find_browser(),
            "--headless=new",
            "--no-sandbox",  # of a page of our own; in containers the sandbox has no user namespaces
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}",
            "--window-size=1000,1400",
            f"--virtual-time-budget={_VIRTUAL_MS}",
            "--dump-dom",
            address,
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise BrowserFailed(f"the browser did not draw {page} within {_SECONDS} s") from error
    if done.returncode or "</html>" not in done.stdout:
        raise BrowserFailed(f"the browser could not draw {page}: {done.stderr.strip()[-500:] or done.returncode}")
    if errors := _ERRORS.search(done.stdout):
        raise BrowserFailed(f"{page} was not drawn without errors: {html.unescape(errors[1])}")
    return done.stdout


def write_pictures(page: Path, folder: Path) -> list[Path]:
    """Write each figure of *page* as an SVG file on white into *folder*, named by its key; return the files.

    Raises as :func:`drawn_page` does, and OSError.
    """
    pictures = _PICTURE.findall(drawn_page(page, "#pictures"))
    if not pictures:
        raise BrowserFailed(f"{page} has no figures")
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for key, text in pictures:
        files.append(folder / f"{key}.svg")
        files[-1].write_text(html.unescape(text) + "\n", encoding="utf-8")
    return files
