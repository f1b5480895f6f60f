"""How long the report of a large comparison takes to build and to open in Chromium.

Six methods, six iterations and 805 prompts, from records made up here; nothing in them was
measured. Usage: python benchmarks/report_speed.py FOLDER
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from random import Random

from playwright.sync_api import sync_playwright

from harness.config import RunConfig
from harness.records import (
    Answer,
    Answered,
    Composition,
    Drift,
    IterationRecord,
    RunDetails,
    RunRecord,
    Spread,
    StageCost,
    TrainStep,
    TrainSummary,
    Values,
)
from harness.scoring.compare import Comparison, Contender, compare
from harness.scoring.winrate import rate
from harness.types import (
    Control,
    ControlName,
    Controls,
    Difference,
    Judgement,
    LengthControl,
    Lengths,
    OrderBias,
    Result,
    WinRate,
)
from leaderboards.official import BASELINE
from leaderboards.papers import OFFICIAL_JUDGE
from reports.html import write_report

METHODS = ("dno", "iterative-dpo", "sppo", "spin", "simpo", "sft")
ITERATIONS, PROMPTS = 6, 805
WORDS = ("the model", "answers", "with a list", "of steps", "that", "people", "can follow", "π ≈ 3")


def text(random: Random, characters: int) -> str:
    """Words of about this many characters."""
    return " ".join(random.choices(WORDS, k=max(1, characters // 8)))


def said(random: Random, mean: float) -> list[float]:
    return [random.betavariate(2 * mean, 2 - 2 * mean) for _ in range(PROMPTS)]


def scored(p: list[float]) -> WinRate:
    return rate([(f"{i:04}", value, None) for i, value in enumerate(p)], 0)


def judgements(prompts: list[Answered], p: list[float], iteration: int) -> list[Judgement]:
    return [
        Judgement(
            prompt.instruction,
            value,
            None,
            len(prompt.answers[iteration].text),
            len(prompt.opponent or ""),
        )
        for prompt, value in zip(prompts, p, strict=True)
    ]


def controls(own: WinRate) -> Controls:
    gaps: dict[ControlName, tuple[float, float]] = {
        "null": (-14.0, 2.0), "padded": (-3.0, 2.5), "shortened": (-7.0, 2.5),
    }  # fmt: skip
    each = tuple(
        Control(name, own, Difference(gap, (gap - half, gap + half), 0.01), 400.0)
        for name, (gap, half) in gaps.items()
    )
    return Controls(OFFICIAL_JUDGE, BASELINE, 32, own, each)


def iteration(t: int, result: Result, random: Random) -> IterationRecord:
    costs = [StageCost("outputs", 900 + 50 * random.random(), 160_000, 400_000, 0.0)]
    costs.append(StageCost("scores", 300.0, 1_400_000, 2_400, 9.6))
    if not t:
        return IterationRecord(0, result, None, None, None, tuple(costs), ("made-up",))
    costs.append(StageCost("samples", 4000 + 900 * random.random(), 3_000_000, 12_000_000, 0.0))
    costs.append(StageCost("train", 7000 + 2000 * random.random(), 0, 0, 0.0))
    types = {"teacher>student": 4000 - 500 * t, "student>student": 1500 + 700 * t}
    made = Composition(
        inputs=10_000,
        student_length=Spread(1800.0, 700.0),
        best_student_vs_teacher=0.4,
        student_wins=0.45,
        student_score=4.2,
        teacher_score=4.6,
        pairs=types,
        trained=types,
        replayed=600 * (t - 1),
        unused_prompts={"no pair passed the margin": 900},
        judge="listwise",
        judge_failures={"no score in the answer": 12},
        tie_rate=0.06,
        length_score_correlation=0.3,
        chosen_length=Spread(1900.0, 700.0),
        rejected_length=Spread(1600.0, 700.0),
        sampled_limit_share=0.04,
    )
    steps = tuple(
        TrainStep(i, i / 90, 0.69 - 0.002 * i + 0.02 * random.random(), 5e-7, 1.0, {})
        for i in range(90)
    )
    after = {"logratio_chosen": -3.0 * t, "logratio_rejected": -9.0 * t, "loss": 0.4}
    training = TrainSummary(6000, 9_000_000, steps, after)
    drift = Drift(2.0 + t * random.random(), 0.4, 0.01, 64, 2, 128)
    return IterationRecord(
        t, result, made, training, drift, tuple(costs), ("made-up",), controls(result.win_rate)
    )


def run(number: int, method: str, starts: list[Answer]) -> tuple[RunRecord, RunDetails, Contender]:
    random = Random(f"{method}")
    verdicts = {t: said(random, 0.07 + (0.01 + 0.008 * number) * t) for t in range(ITERATIONS + 1)}
    prompts = []
    for i, start in enumerate(starts):
        answers = [start]
        for t in range(1, ITERATIONS + 1):
            words = text(random, 1200 + 150 * t + random.randrange(800))
            answers.append(Answer(t, words, verdicts[t][i]))
        reference = text(Random(f"reference {i}"), 2000)
        prompts.append(
            Answered(f"p{i:04}", f"Instruction {i}: what now?", reference, tuple(answers))
        )
    records = []
    for t, p in verdicts.items():
        won = scored(p)
        level = 0.9 * (won.value or 0.0)
        control = LengthControl(
            "LC", level, (level - 2, level + 2), 1.0, -1.0, 0.5, 0.0, 21.54, "C fixed", PROMPTS
        )
        lengths = Lengths(1300.0 + 150 * t, 600.0, 1200.0 + 150 * t, 2600.0, 0.02)
        result = Result(
            "alpaca_eval 2.0",
            "greedy, 2048 tokens",
            OFFICIAL_JUDGE,
            BASELINE,
            won,
            scored(said(random, 0.5 + 0.04 * t)),
            scored(said(random, 0.52)),
            lengths,
            control,
            OrderBias(PROMPTS, 0.86, 0.53),
        )
        records.append(iteration(t, result, random))
    counts = tuple(random.randrange(200, 900) for _ in range(21))
    values = {t: Values("score", 0.0, 6.0, counts) for t in range(1, ITERATIONS + 1)}
    judged = {t: Values("preference", 0.0, 1.0, counts) for t in range(ITERATIONS + 1)}
    record = RunRecord(
        name=method,
        path=Path("runs") / method,
        method=method,
        paper="made up",
        config=RunConfig(method=method, preset="paper", iterations=ITERATIONS),
        iterations=tuple(records),
        provenance={"command": "made up", "train_judge": "listwise"},
    )
    last = tuple(judgements(prompts, verdicts[ITERATIONS], ITERATIONS))
    return record, RunDetails(tuple(prompts), judged, values), Contender(method, last)


def main(folder: Path) -> None:
    random = Random("start")
    starts = [Answer(0, text(random, 1200), p) for p in said(random, 0.07)]
    made = [run(number, method, starts) for number, method in enumerate(METHODS)]
    runs, details, contenders = zip(*made, strict=True)

    def compared(_: object) -> Comparison:
        return compare(contenders, 0, baseline=BASELINE)

    begun, spent = time.perf_counter(), time.process_time()
    page = write_report(runs, folder, details, compare=compared, full=False)
    print(f"built in {time.perf_counter() - begun:.1f} s ({time.process_time() - spent:.1f} s CPU)")
    print(f"{page.stat().st_size / 1e6:.2f} MB")
    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(3):
            tab = browser.new_page()
            tab.set_default_timeout(120_000)
            begun = time.perf_counter()
            tab.goto(page.resolve().as_uri())
            tab.locator(".prompts button").first.wait_for()
            loaded = tab.evaluate("performance.timing.loadEventEnd - performance.timing.fetchStart")
            print(f"opened in {time.perf_counter() - begun:.2f} s, load event at {loaded} ms")
            tab.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
