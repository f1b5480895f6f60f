"""The report's page: it says what there is, and holds hostile text harmlessly."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from test_leaderboards import fake_run, rate

from harness.config import RunConfig
from harness.errors import HarnessError
from harness.records import Answer, Answered, RunDetails
from leaderboards.papers import OTHER_BENCHMARK
from reports.html import write_report
from reports.words import common_key, labels

HOSTILE = (
    "<script>alert(1)</script></style></title>{{ 7*7 }}{% raw %}<img src=http://evil.test/x>"
    "\"'><b onclick=x>&amp;$\\frac{1}{0}$\x00\x1b[2J\u202e-->\ud800"
)


def answered(
    name: str, *texts: str, p: float | None = 0.8, opponent: str | None = "theirs"
) -> Answered:
    """A prompt that each iteration answered; the judge's word `p` is on the last answer."""
    said = [0.5] * (len(texts) - 1) + [p]
    answers = tuple(Answer(t, *pair) for t, pair in enumerate(zip(texts, said, strict=True)))
    return Answered(name, f"ask {name}", opponent, answers)


class Page(HTMLParser):
    """Collects tags, ids, what is fetched, text outside style and script, and the scripts."""

    void = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.events: list[str] = []
        self.words: list[str] = []
        self.policy = ""
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        self.text = " ".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "xlink:href", "action", "data", "srcset", "poster"}:
                (self.links if tag == "a" else self.references).append(value or "")
            if name.startswith("on"):
                self.events.append(name)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.words.append(data)

    @property
    def payload(self) -> Any:
        """What the output browser reads."""
        return json.loads(next(text for text in self.scripts if text.startswith("{")))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    run = fake_run(iterations=2)
    records = []
    for record in run.iterations:
        failures = rate(55.0, n_failed=3, failures={HOSTILE: 3})
        composition = record.composition and replace(
            record.composition, judge_failures={HOSTILE: 1}, trained={HOSTILE: 4, "demo:gold": 2}
        )
        result = replace(record.result, benchmark=HOSTILE, opponent=HOSTILE, win_rate=failures)
        records.append(replace(record, result=result, composition=composition))
    config = RunConfig(method="m", model=HOSTILE.replace("\ud800", ""), preset="laptop")
    run = replace(run, name=HOSTILE, method=HOSTILE, config=config, iterations=tuple(records))
    long = HOSTILE * 100
    prompt = replace(answered(HOSTILE, HOSTILE, "", long, p=None), instruction=HOSTILE)
    prompt = replace(
        prompt,
        opponent="x" * 1_000_000,
        answers=(*prompt.answers[:2], Answer(2, long, None, HOSTILE)),
    )
    details = RunDetails((prompt,))
    path = write_report([run], tmp_path_factory.mktemp("hostile"), [details])
    return Page(path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures, for tests of words: drawing takes most of the time."""
    monkeypatch.setattr("reports.html.write_figures", lambda group, folder: ())


# --- the page ---------------------------------------------------------------------------------


def test_hostile_text_stays_text(hostile: Page) -> None:
    assert hostile.tags.count("script") == 2  # the data and the page's own
    assert "alert(1)" not in hostile.scripts[-1]
    assert not {"img", "b"} & set(hostile.tags)
    assert hostile.tags.count("style") == 1
    assert hostile.events == []
    assert "<script>alert(1)</script>" in hostile.text  # shown, as text
    assert "{{ 7*7 }}" in hostile.text
    for char in ("\x00", "\x1b", "\u202e"):
        assert char not in hostile.source
    assert hostile.open == []  # every tag is closed: no text has broken out of its place
    (prompt,) = hostile.payload["prompts"]
    assert "<script>alert(1)</script>" in hostile.payload["texts"][prompt["prompt"]]
    assert hostile.payload["more"][str(prompt["reference"])] == 1_000_000 - 6000
    assert hostile.path.stat().st_size < 8_000_000


def test_the_page_asks_nothing_of_the_network(hostile: Page, tmp_path: Path) -> None:
    for page in (hostile, Page(write_report([fake_run()], tmp_path))):
        assert all(reference.startswith("#") for reference in page.references)
        assert all(re.match(r"#|figures/\w+\.(svg|png)$", link) for link in page.links)
        assert not re.search(r"@import|url\((?!#)| style=", page.source)
        assert page.policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in page.policy
        assert len(page.ids) == len(set(page.ids)) > 10
        inner = [link for link in page.links if link.startswith("#")]
        targets = {r[1:] for r in (*page.references, *inner)} | set(
            re.findall(r"url\(#([^)]+)\)", page.source)
        )
        assert targets <= set(page.ids)


def test_a_report_says_it_all(tmp_path: Path) -> None:
    details = RunDetails(tuple(answered(f"{i:03}", "old", "mid", "mid", "new") for i in range(9)))
    page = Page(
        write_report([fake_run()], tmp_path, [details], calibration=lambda j: f"{j} agrees 71%")
    )
    for words in (
        "After 3 iterations, dno's win rate against its start is 61.0% (95% interval 52.0 to 70.1,"
        .replace("70.1", "70.0"),
        "judge reference-1): better than the start beyond noise at this size.",
        "with 32 evaluation prompts it can't rank methods: use --preset laptop",
        "The judge that chose the training data (reference-1) also judges the outputs",
        "Iteration 0 against the run's own start is 50% by construction, not by measurement",
        "teacher ≻ student",
        "share with falling chosen log-ratio, after",
        "no pair passed the margin: 2",
        "the prompt has no gold answer: 1",
        "reference-1 agrees 71%",
        "No AlpacaEval 2.0 data: on mini-1 a run has no LC",
        "asked in one order only",
        "This page holds all 9 prompts.",
        "abc1234",
        "max_new_tokens: 512",
        OTHER_BENCHMARK,
        "dno-more-data",
    ):  # fmt: skip
        assert words in page.text, words
    assert page.tags.count("svg") == len(list((tmp_path / "figures").glob("*.svg"))) == 7
    assert page.tags.count("h1") == 1
    (first, *_), texts = page.payload["prompts"], page.payload["texts"]
    assert [texts[index] for _, _, index, _, _ in first["answers"]] == ["old", "mid", "mid", "new"]
    assert texts[first["reference"]] == "theirs"
    assert (tmp_path / "index.html").stat().st_mode & 0o444 == 0o444


def test_an_untrained_run_says_what_it_lacks(tmp_path: Path) -> None:
    page = Page(write_report([fake_run(iterations=0)], tmp_path))
    for words in (
        "dno has not been trained yet",
        "There is no verdict",
        "No training data is recorded",
        "No training is recorded",
        "No KL is recorded",
        "No outputs were handed",
        "of iterations 0 to 6, 1 is scored",
    ):
        assert words in page.text
    assert page.tags.count("svg") == 3


@pytest.mark.usefixtures("undrawn")
def test_runs_are_compared_by_name(tmp_path: Path) -> None:
    runs = [fake_run("one"), fake_run("two", "iterative-dpo", lift=-30.0)]
    details = [RunDetails((answered("x", "a", "b", p=p),)) for p in (0.9, 0.1)]
    page = Page(write_report(runs, tmp_path, details))
    assert "one's win rate against its start is 61.0%" in page.text
    assert "two's win rate against its start is 31.0%" in page.text
    assert (
        "Better than the start beyond noise: one. Worse than the start beyond noise: two. By "
        "chance alone, at least one of 2 such verdicts says better or worse in up to 10% of cases."
    ) in page.text
    assert "Each interval belongs to one run" in page.text
    assert page.payload["runs"] == ["one", "two"]
    assert [answer[:2] for answer in page.payload["prompts"][0]["answers"]] == [
        [0, 0], [0, 1], [1, 0], [1, 1],
    ]  # fmt: skip


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("field", ["benchmark", "decoding", "judge", "opponent"])
def test_runs_of_different_boards_are_shown_apart(tmp_path: Path, field: str) -> None:
    other = fake_run("other")
    records = [
        replace(r, result=replace(r.result, **{field: "elsewhere"})) for r in other.iterations
    ]
    compared: list[list[str]] = []
    runs = [fake_run("one"), replace(other, iterations=tuple(records)), fake_run("two")]
    page = Page(write_report(runs, tmp_path, compare=lambda found: compared.append(labels(found))))
    assert compared == [["one", "two"]]  # never across boards
    assert "on 2 different boards" in page.text
    assert "not ranked together and are shown apart" in page.text
    assert len(page.ids) == len(set(page.ids))
    with pytest.raises(HarnessError, match=f"differ in {field}"):
        common_key(runs)
    with pytest.raises(HarnessError, match="make no curve"):
        write_report([replace(other, iterations=(other.iterations[0], records[1]))], tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_stopped_half_way_says_how_to_go_on(tmp_path: Path) -> None:
    half = replace(
        fake_run("half", iterations=1),
        begun=("samples", "verdicts"),
        provenance={"command": "harness run --method m"},
    )
    bare = replace(fake_run("bare"), iterations=())
    page = Page(write_report([half, bare], tmp_path))
    assert (
        "half is not finished: of iterations 0 to 6, 2 are scored, and iteration 2 has samples and "
        "verdicts but not yet examples, train, outputs, validation, drift and scores. The same "
        "command goes on from there: harness run --method m"
    ) in page.text
    assert "half has one iteration beside its start" in page.text
    assert "bare has no scored iteration yet, so it is in no figure" in page.text
    alone = Page(write_report([bare], tmp_path / "alone"))
    assert "bare has no scored iteration yet" in alone.text
    assert "Resolved configuration of bare" in alone.text


def test_nothing_to_report_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="at least one run"):
        write_report([], tmp_path)
