"""Reports: verdicts in words, figures on disk, and a page that holds hostile text harmlessly."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_leaderboards import constructed, fake_iteration, fake_run, rate

from harness.config import RunConfig
from harness.errors import HarnessError
from harness.records import Answer, Answered, RunDetails, RunRecord
from harness.types import WinRate
from leaderboards.papers import OFFICIAL_JUDGE, OTHER_BENCHMARK, published
from reports.figures import DRAWINGS, FigureFile
from reports.figures import write_figures as write_group
from reports.group import grouped
from reports.html import write_report
from reports.pairs import kinds_of
from reports.rates import reference_rows, win_rate
from reports.standing import published_table
from reports.style import inline_svg, short, spread
from reports.words import caveats, common_key, kind_of, labels, notes, verdict

HOSTILE = (
    "<script>alert(1)</script></style></title>{{ 7*7 }}{% raw %}<img src=http://evil.test/x>"
    "\"'><b onclick=x>&amp;$\\frac{1}{0}$\x00\x1b[2J\u202e-->\ud800"
)


def with_last(run: RunRecord, vs_initial: WinRate) -> RunRecord:
    *first, last = run.iterations
    result = replace(last.result, vs_initial=vs_initial)
    return replace(run, iterations=(*first, replace(last, result=result)))


def answered(
    name: str, *texts: str, p: float | None = 0.8, opponent: str | None = "theirs"
) -> Answered:
    """A prompt that each iteration answered; the judge's word `p` is on the last answer."""
    said = [0.5] * (len(texts) - 1) + [p]
    answers = tuple(Answer(t, *pair) for t, pair in enumerate(zip(texts, said, strict=True)))
    return Answered(name, f"ask {name}", opponent, answers)


def write_figures(runs: Sequence[RunRecord], folder: Path) -> tuple[FigureFile, ...]:
    (group,), _ = grouped(runs)
    return write_group(group, folder)


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
        "Better than the start beyond noise: one. Worse than the start beyond noise: two."
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


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vs_initial", "kind", "words"),
    [
        (rate(61.2, 9.1), "better", "61.2% (95% interval 52.1 to 70.3, 32 prompts, judge "
         "reference-1): better than the start beyond noise at this size."),
        (rate(38.0, 9.0), "worse", "worse than the start beyond noise"),
        (rate(56.0, 9.0), "unclear", "not distinguishable from the start"),
        (rate(59.0, 9.0), "unclear", "not distinguishable from the start"),
        (constructed(), "none", "50% by construction (a policy against itself): not a measurement"),
        (rate(None, n_failed=32), "none", "none of 32 judgements succeeded"),
        (rate(80.0, n=1, se=None, ci95=None), "none", "has no interval (1 prompt judged)"),
    ],
)  # fmt: skip
def test_a_verdict_follows_from_the_interval(vs_initial: WinRate, kind: str, words: str) -> None:
    found = verdict(with_last(fake_run(), vs_initial))
    assert found.kind == kind
    assert words in found.sentence
    assert ("80.0" in found.sentence) is False


@given(st.floats(0, 100), st.floats(0, 50))
def test_no_verdict_without_the_whole_interval(value: float, half: float) -> None:
    found = rate(value, half)
    assert found.ci95
    low, high = found.ci95
    kind = kind_of(found)
    assert (kind == "unclear") == (low <= 50 <= high)
    assert (kind == "better") == (low > 50)


def test_few_prompts_and_failures_are_said() -> None:
    run = with_last(fake_run(), rate(90.0, n=4, n_failed=2))
    more = " ".join(verdict(run).more)
    assert "2 judgements failed and count in no number above" in more
    assert "An interval over 4 prompts is itself unreliable" in more
    assert "with 6 evaluation prompts" in caveats([run])[0]


def test_caveats_and_notes_depend_on_the_run() -> None:
    config = RunConfig.model_validate(
        {"method": "dno", "preset": "laptop", "judge": {"train": "reference", "eval": "longer"}}
    )
    run = replace(fake_run(judge="longer-1"), config=config)
    assert caveats([run]) == ()
    assert not any("also judges" in note for note in notes([run]))
    assert labels([run, run]) == ["dno-quickstart (1)", "dno-quickstart (2)"]


def test_an_opponent_that_is_the_start_is_told_once(tmp_path: Path) -> None:
    run = fake_run()
    records = [
        replace(r, result=replace(r.result, win_rate=r.result.vs_initial)) for r in run.iterations
    ]
    run = replace(run, iterations=tuple(records))
    assert "is that same start: fixed baseline" in verdict(run).more[0]
    alt = write_figures([run], tmp_path)[0].alt
    assert "1 line chart by iteration: win rate in percent against the run's own start" in alt


def test_one_sentence_a_construction() -> None:
    run = with_last(fake_run(iterations=2), constructed())
    assert [n for n in notes([run]) if "by construction" in n] == [
        "Iteration 0, 2 against the run's own start is 50% by construction, not by measurement: "
        "a policy against itself."
    ]


def test_judge_of_an_untrained_run_is_the_configured_one() -> None:
    assert any("also judges" in note for note in notes([fake_run(iterations=0)]))


def test_published_rows_follow_the_methods_run() -> None:
    table = published_table("mini-1", "reference-1", ["iterative-dpo"])
    assert table.caption == OTHER_BENCHMARK
    assert any("SPPO" in row[-1] for row in table.rows)
    assert not any("SPPO" in r[-1] for r in published_table("mini-1", "j", ["dno"]).rows)
    lines = [(r.method, r.iteration) for r in reference_rows(published(), ["dno", "x"])]
    assert lines == [("sft (start)", 0), ("dno-more-data", 6), ("self-rewarding", 3), ("dno", 3)]


# --- figures ----------------------------------------------------------------------------------


def test_page_and_figures_do_not_vary(tmp_path: Path) -> None:
    board = {"benchmark": "alpaca_eval-2.0", "judge": OFFICIAL_JUDGE}
    runs = [fake_run("a", **board), fake_run("字$^{x", lift=3.0, **board)]
    one, two = (write_report(runs, tmp_path / name).parent for name in ("one", "two"))
    written = sorted(path.relative_to(one) for path in one.rglob("*.*"))
    drawn = sorted(set(DRAWINGS) - {"neighbours", "lc_vs_raw", "judge", "controls"})
    names = [f"{name}.{kind}" for name in drawn for kind in ("png", "svg")]
    assert [path.name for path in written] == [*names, "index.html"]
    for path in written:
        assert (one / path).read_bytes() == (two / path).read_bytes()
        assert path.suffix != ".svg" or "<date>" not in (one / path).read_text(encoding="utf-8")
        assert path.suffix != ".png" or (one / path).read_bytes()[:4] == b"\x89PNG"


def test_gaps_are_drawn_as_gaps(tmp_path: Path) -> None:
    bare = replace(fake_iteration(1).result, vs_initial=rate(80.0, n=1, ci95=None))
    record = replace(fake_iteration(1), result=bare)
    run = replace(fake_run(), iterations=(fake_iteration(0), record))
    assert len(write_figures([run], tmp_path)) == 7


def test_kinds_keep_their_order() -> None:
    assert kinds_of([fake_run()])[0] == "teacher>student"
    assert kinds_of([fake_run()])[-1] == "replayed"


def test_inlined_ids_are_the_pages_own() -> None:
    svg = (
        '<?xml?><!DOCTYPE x "http://w3"><svg><style type="text/css">*{}</style><!-- c -->'
        '<path id="a" clip-path="url(#a)" style="fill: none; stroke: #0072b2"/></svg>'
    )
    assert inline_svg(svg, "f") == (
        '<svg><path id="f-a" clip-path="url(#f-a)" fill="none" stroke="#0072b2"/></svg>'
    )


@given(st.lists(st.floats(0, 1), max_size=8))
def test_labels_keep_apart(places: list[float]) -> None:
    moved = spread(sorted(places), 0.1)
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(moved))
    assert all(place <= 1 for place in moved)


def test_short_labels() -> None:
    assert short("x" * 22) == "x" * 22
    assert len(short("y" * 300)) == 22
    assert short("a\nb\x1b") == "a b "


@pytest.mark.parametrize(("lift", "near"), [(0.0, True), (-36.0, False)])
def test_win_rates_far_below_even_have_the_axis_to_themselves(lift: float, near: bool) -> None:
    fig, _ = win_rate([fake_run(lift=lift), fake_run("sft", "sft", lift=lift)])
    against_the_opponent = fig.axes[0]
    assert (against_the_opponent.get_ylim()[1] > 50) == near
    said = {text.get_text() for text in against_the_opponent.texts}
    assert ("50%: even" in said) == near
    assert any("lies far above" in text for text in said) != near
    low, high = against_the_opponent.get_ylim()
    assert all(low <= y <= high for line in against_the_opponent.lines for y in line.get_ydata())
