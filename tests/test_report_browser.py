"""The report in a real browser: it works, asks for nothing, and everybody can use it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import NO_REPORT, Command
from playwright.sync_api import Browser, Page, sync_playwright
from test_leaderboards import fake_run
from test_reports import HOSTILE, answered

from harness.records import Answer, RunDetails
from reports.html import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DESKTOP, PHONE = 1280, 390

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here (apt install chromium): the report is not opened"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # root has no sandbox; the pages are our own
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page with all that it said and asked for."""

    page: Page
    trouble: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def listed(self) -> list[str]:
        return self.page.locator(".prompts button").all_inner_texts()


def opened(browser: Browser, path: Path, width: int = DESKTOP, scheme: str = "light") -> Opened:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    context.set_default_timeout(120_000)  # a busy machine is no failure
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.trouble.append(message.text))
    found.page.on("pageerror", lambda error: found.trouble.append(str(error)))
    found.page.on("dialog", lambda dialog: found.trouble.append(dialog.message))
    found.page.on("request", lambda request: found.asked.append(request.url))
    found.page.goto(path.as_uri())
    return found


@pytest.fixture(scope="module")
def report(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of two methods' real runs."""
    out = tmp_path_factory.mktemp("browser")
    line = ("run", "--method", "dno,sft", "--preset", "tiny", "--iters", 2, "--out", out)
    # against the start, and by a judge that tells even these outputs apart
    command(*line, "--judge", "reference", prelude=NO_REPORT).ok()
    command("report", out / "dno", out / "sft", "--out", out / "page", "--full").ok()
    return out / "page" / "index.html"


def test_the_page_works_and_asks_for_nothing(chromium: Browser, report: Path) -> None:
    found = opened(chromium, report)
    page = found.page
    drawn = page.locator(".figures svg")
    assert drawn.count() == len(list(report.parent.glob("figures/*.svg"))) == 10
    for index in range(drawn.count()):
        box = drawn.nth(index).bounding_box()
        assert box
        assert min(box["width"], box["height"]) > 150
        assert drawn.nth(index).locator("path").count() > 10

    # the table of scores sorts, by a click and by a key
    head = page.get_by_role("columnheader", name="win rate % [95%]").first
    rates = page.locator("table").first.locator("tbody tr td:nth-child(3)")
    head.get_by_role("button").click()
    up = rates.all_inner_texts()
    assert [float(text.split()[0]) for text in up] == sorted(float(t.split()[0]) for t in up)
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").press("Enter")
    assert rates.all_inner_texts()[0] == up[-1]
    assert head.get_attribute("aria-sort") == "descending"

    # the browser filters, by outcome, run and text
    everything = found.listed()
    assert len(everything) == 12
    page.get_by_label("Show").select_option("lost")
    page.locator("select[data-pick=run]").select_option("sft")
    assert found.listed() == [text for text in everything if "sft ✗" in text] != []
    assert page.get_by_role("status").inner_text() == f"{len(found.listed())} of 12 prompts"
    page.get_by_label("Show").select_option("changed")
    assert all("sft ✓*" in text or "sft ✗*" in text for text in found.listed())
    page.get_by_label("Show").select_option("all")
    page.get_by_label("Text contains").fill("COMPOUND interest")
    (only,) = found.listed()
    assert only.startswith("Explain simple versus compound interest")

    # the keyboard alone walks through the prompts, with every iteration and both runs in sight
    page.get_by_label("Text contains").fill("")
    page.locator("select[data-pick=run]").select_option("any")
    page.get_by_label("Outputs of").select_option("all")
    first = page.locator(".prompts button").first
    first.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.innerText") == everything[1]
    page.keyboard.press("End")
    assert page.locator('.prompts [aria-current="true"]').inner_text() == everything[-1]
    shown = page.locator(".shown")
    assert shown.get_by_role("heading", name=re.compile("^Iteration")).all_inner_texts() == [
        "Iteration 0", "Iteration 1", "Iteration 2",
    ]  # fmt: skip
    assert shown.get_by_role("heading", name="Reference").count() == 1
    assert "P(beats the opponent) = " in shown.inner_text()

    assert found.trouble == []
    assert found.asked == [report.as_uri()]


@pytest.mark.parametrize(("width", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_everybody_can_use_it(chromium: Browser, report: Path, width: int, scheme: str) -> None:
    found = opened(chromium, report, width, scheme)
    for fold in found.page.locator("details").all():
        fold.evaluate("fold => { fold.open = true }")
    told = Axe().run(found.page).response["violations"]
    assert [(item["id"], item["nodes"][0]["html"][:200]) for item in told] == []
    assert found.page.evaluate("document.documentElement.scrollWidth") == width
    ground = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(21, 23, 26)") == (scheme == "dark")
    if scheme == "dark":  # figures too
        figure = found.page.locator(".figures svg #win_rate-patch_1 path")
        assert figure.evaluate("path => getComputedStyle(path).fill") == "rgb(30, 33, 37)"


def test_all_outputs_stand_on_pages_of_their_own(chromium: Browser, report: Path) -> None:
    found = opened(chromium, report)
    found.page.get_by_role("link", name="Prompts 1 to 12 of 12").click()
    assert found.page.get_by_role("heading", level=1).inner_text() == "Prompts 1 to 12 of 12"
    assert len(found.listed()) == 12
    assert found.trouble == []


def test_hostile_outputs_are_text_and_run_nothing(chromium: Browser, tmp_path: Path) -> None:
    hostile = (
        f"{HOSTILE}<script>window.ran = 1</script></script><!--<script>| a | b |\n|---|---|\n"
        "\x1b[31mred\x1b[0m שלום \u202e 👩‍👩‍👧 \u2028 </pre><svg onload='window.ran = 1'>"
    )
    prompt = answered("p", "plain", hostile, opponent="y" * 1_000_000)
    prompt = replace(
        prompt, instruction=hostile, answers=(*prompt.answers, Answer(2, "", None, hostile))
    )
    run = fake_run(hostile.replace("\ud800", ""), iterations=2)
    path = write_report([run], tmp_path, [RunDetails((prompt,))], full=True)
    for file in (path, tmp_path / "outputs" / "00001.html"):
        found = opened(chromium, file)
        page = found.page
        page.get_by_label("Outputs of").select_option("all")
        seen = page.locator(".shown pre").all_text_contents()
        for char in "\x00\x1b\u202e\ud800":
            hostile = hostile.replace(char, "\N{REPLACEMENT CHARACTER}")
        assert seen[0] == seen[3] == hostile
        assert set(seen[1]) == {"y"}
        assert (len(seen[1]) == 1_000_000) == (file != path)
        assert page.evaluate("window.ran") is None
        assert found.trouble == []
        assert found.asked == [file.as_uri()]
        # even what gets into the page as an element is not run
        page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 2';"
            " document.body.append(s); const i = new Image(); i.src = 'http://127.0.0.1:9/x'; }"
        )
        page.wait_for_timeout(50)
        assert page.evaluate("window.ran") is None
        script, image = found.trouble
        assert "Content Security Policy" in script
        assert "Content Security Policy" in image
