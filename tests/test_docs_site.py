"""The documentation's site: built strictly, whole, readable, and without the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from pages import ROOT
from playwright.sync_api import Browser, Page
from test_docs import command_names
from test_report_browser import CHROMIUM, DESKTOP, PHONE
from test_report_browser import chromium as chromium

from harness.config import field_names, preset_names


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does: an unknown link, an unknown anchor or a page without a place in
    the navigation is an error."""
    out = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class _Asked(HTMLParser):
    """What a page fetches by itself, and the anchors that it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.anchors.add(str(given["id"]))
        if tag in ("script", "img", "iframe", "source", "video") and given.get("src"):
            self.fetched.append(str(given["src"]))
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.fetched.append(str(given["href"]))


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        fetched = _Asked(page).fetched
        assert fetched
        assert not [address for address in fetched if re.match(r"\w+:|//", address)], page


def test_the_reference_is_whole(site: Path) -> None:
    """Each command, setting, preset, method and judge has its place, from the code as it is."""
    commands = _Asked(site / "reference" / "commands.html").anchors
    shown = {found.replace("harness-", "", 1).replace("-", " ") for found in commands}
    assert {name.replace("-", " ") for name in command_names()} <= shown | {"board"}
    assert "board show" in shown
    configuration = (site / "reference" / "configuration.html").read_text("utf-8")
    assert not [n for n in field_names() if f"<code>{n}</code>" not in configuration]
    assert set(preset_names()) <= _Asked(site / "reference" / "configuration.html").anchors
    for group in ("methods", "judges"):
        own = {e.name for e in entry_points(group=f"harness.{group}") if "package" not in e.value}
        assert own <= _Asked(site / "reference" / f"{group}.html").anchors


# --- in a browser -----------------------------------------------------------------------------


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the site is not opened")
def test_the_site_works_in_a_browser(chromium: Browser, site: Path) -> None:
    """From a folder: search finds, nothing is asked elsewhere, a phone need not scroll sideways."""
    page: Page = chromium.new_context(viewport={"width": DESKTOP, "height": 900}).new_page()
    page.set_default_timeout(120_000)
    trouble: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("/")
    page.keyboard.type("duality gap")
    page.locator(".md-search-result__link").first.wait_for()
    page.set_viewport_size({"width": PHONE, "height": 844})
    for place in ("index", "tutorial", "reference/configuration", "dno"):
        page.goto((site / f"{place}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE, place
        broken = "[...document.images].filter(image => !image.naturalWidth).length"
        assert page.evaluate(broken) == 0, place
    assert not trouble
    assert not [url for url in asked if not url.startswith((site.as_uri(), "data:", "blob:"))]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the site is not opened")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_the_site(
    chromium: Browser, site: Path, scheme: Literal["light", "dark"]
) -> None:
    """Two pages with tables, code and figures, by axe."""
    page = chromium.new_context(color_scheme=scheme).new_page()
    for place in ("index", "reference/configuration"):
        page.goto((site / f"{place}.html").as_uri())
        found = Axe().run(page).response["violations"]
        assert not [v["id"] for v in found if v["impact"] in ("serious", "critical")], place
