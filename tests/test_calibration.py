"""`harness calibrate`, `judge` and `judges`: figures against a library's, and what is kept."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command
from sklearn.metrics import brier_score_loss, cohen_kappa_score, roc_auc_score

from harness.scoring.calibration import Comparisons, Swapped, calibrate

MODELS, INSTRUCTIONS = 6, 30


def comparisons(seed: int, skill: float) -> Comparisons:
    rng = np.random.default_rng(seed)
    model = np.repeat(np.arange(MODELS), INSTRUCTIONS)
    instruction = np.tile(np.arange(INSTRUCTIONS), MODELS)
    truth = 1 / (1 + np.exp(-(rng.normal(size=len(model)) + (model - 2.5) / 2)))
    noise = rng.uniform(size=len(model))
    judge = np.round(skill * truth + (1 - skill) * noise, 2)  # rounded: ties occur
    longer = np.sign(rng.normal(size=len(model)))
    return Comparisons(judge, truth, longer, model, instruction)


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_a_library_s(seed: int) -> None:
    said = comparisons(seed, 0.6)
    told = calibrate("j", "y", said, None, 0, seed)
    won, decided = said.yardstick > 0.5, said.judge > 0.5
    assert told.auc is not None
    assert told.auc.value == pytest.approx(roc_auc_score(won, said.judge))
    assert told.kappa.value == pytest.approx(cohen_kappa_score(won, decided))
    assert told.brier.value == pytest.approx(brier_score_loss(won, said.judge))
    assert told.agreement.value == pytest.approx((won == decided).mean())
    each = [
        roc_auc_score(won[here], said.judge[here])
        for i in range(INSTRUCTIONS)
        if 0 < won[here := said.instruction == i].sum() < MODELS
    ]
    assert told.within_auc is not None
    assert told.within_auc.value == pytest.approx(np.mean(each))
    for figure in (told.auc, told.kappa, told.brier, told.agreement, told.within_auc):
        assert figure.ci95[0] <= figure.value <= figure.ci95[1]
    assert sum(b.n for b in told.reliability) == len(won)


def test_a_perfect_a_blind_and_an_opposite_judge() -> None:
    said = comparisons(0, 1.0)
    exact = Comparisons(said.yardstick, said.yardstick, said.longer, said.model, said.instruction)
    perfect = calibrate("j", "y", exact, None, 0, 0)
    for figure in (perfect.auc, perfect.within_auc, perfect.agreement, perfect.kappa):
        assert figure is not None
        assert figure.value == 1
    assert perfect.spearman is not None
    assert perfect.kendall is not None
    assert perfect.spearman.value == pytest.approx(1)
    assert perfect.kendall.value == pytest.approx(1)
    assert perfect.length_bias.value == 0
    opposite = Comparisons(1 - exact.judge, *list(vars(exact).values())[1:])
    told = calibrate("j", "y", opposite, None, 0, 0)
    assert told.auc is not None
    assert told.auc.value == 0
    blind = Comparisons(np.full_like(exact.judge, 0.5), *list(vars(exact).values())[1:])
    told = calibrate("j", "y", blind, None, 0, 0)
    assert told.auc is not None
    assert told.auc.value == 0.5
    assert told.brier.value == 0.25
    assert told.spearman is None  # all models are equal to it: there is no ranking


def test_position_bias_is_seen() -> None:
    rng = np.random.default_rng(0)
    fair = rng.uniform(size=200)
    first = Swapped(np.clip(fair + 0.2, 0, 1), np.clip(fair - 0.2, 0, 1))
    told = calibrate("j", "y", comparisons(0, 0.5), first, 0, 0)
    assert told.first_slot is not None
    assert told.consistency is not None
    assert told.first_slot.ci95[0] > 0.6
    assert told.consistency.value < 0.8


# --- the commands -----------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A small archive of our own making, in the folder's format."""
    import pandas as pd

    rng = random.Random(0)
    asked = [{"idx": i, "instruction": f"Task {i}"} for i in range(12)]
    for row in asked:
        row["gpt4_1106_preview_output"] = "b" * rng.randint(50, 90)
    outputs: list[dict[str, Any]] = []
    judged: list[dict[str, Any]] = []
    for m in range(6):
        for row in asked:
            text = "m" * rng.randint(10 + 20 * m, 60 + 20 * m)
            outputs.append({"model": f"m{m}", "idx": row["idx"], "output": text})
            gap = len(text) - len(str(row["gpt4_1106_preview_output"]))
            preference = 1 + 1 / (1 + np.exp(-gap / 20 + rng.gauss(0, 0.5)))
            judged.append({"model": f"m{m}", "idx": row["idx"], "preference": preference})
    folder = tmp_path / "archive"
    folder.mkdir()
    for name, rows in (("instructions", asked), ("outputs", outputs), ("annotations", judged)):
        pd.DataFrame(rows).to_parquet(folder / f"{name}.parquet")
    return folder


def test_a_calibration_is_kept_and_listed(command: Command, archive: Path, tmp_path: Path) -> None:
    env = {"HARNESS_HOME": str(tmp_path / "home")}
    told = (
        command("calibrate", "--judge", "longer", "--archive", archive, "--json", env=env).ok().json
    )
    assert (told["models"], told["instructions"], told["comparisons"]) == (6, 12, 72)
    assert told["auc"]["value"] > 0.9
    assert told["spearman"]["value"] > 0.9
    assert told["consistency"]["value"] == 1
    listed = {j["name"]: j for j in command("judges", "--json", env=env).ok().json}
    assert listed["longer"]["calibration"] == told
    assert listed["shorter"]["calibration"] is None
    shown = command("judges", env=env).ok().out
    assert "AUC" in shown
    some = command(
        *("calibrate", "--judge", "longer", "--archive", archive, "--comparisons", 20), env=env
    ).ok()
    assert "20 comparisons" in some.out


def test_a_checkout_is_an_archive_too(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "a-model" / "weighted_alpaca_eval_gpt4_turbo"
    folder.mkdir(parents=True)
    rows = [
        {
            "instruction": f"t{i}",
            "output_1": "b" * 20,
            "output_2": "m" * (10 + i),
            "preference": [1.1, 1.9, None, -1][i % 4],
        }
        for i in range(24)
    ]
    (folder / "annotations.json").write_text(json.dumps(rows), "utf-8")
    told = command("calibrate", "--judge", "longer", "--archive", tmp_path, "--json").ok().json
    assert (told["comparisons"], told["models"], told["spearman"]) == (12, 1, None)


def test_what_cannot_be_calibrated_is_refused(
    command: Command, archive: Path, tmp_path: Path
) -> None:
    for judge, folder, says in (
        ("reference", archive, "scores by a gold answer"),
        ("longer", tmp_path, "holds no stored judgements"),
        ("longr", archive, "longer"),
    ):
        assert says in command("calibrate", "--judge", judge, "--archive", folder).sentence()


def test_judge_writes_what_score_and_compare_read(command: Command, tmp_path: Path) -> None:
    def outputs(name: str, length: int) -> Path:
        path = tmp_path / f"{name}.json"
        rows = [
            {"instruction": f"t{i}", "output": "x" * (length + i % 5), "generator": name}
            for i in range(20)
        ]
        path.write_text(json.dumps(rows[: 20 - (name == "base")]), "utf-8")
        return path

    base, long = outputs("base", 50), outputs("long", 90)
    out = tmp_path / "deep" / "annotations.json"
    line = ("judge", "--judge", "longer", "--reference", base, "--out", out)
    done = command(*line, "--outputs", long, "--json").ok()
    told = done.json
    assert "1 outputs have no reference" in done.err
    assert (told["model"], told["baseline"], told["n_total"], told["n_wins"]) == (
        *("long", "base"),
        *(19, 19),
    )
    again = command("score", "--annotations", out, "--json").ok().json
    assert again == {key: value for key, value in told.items() if key != "out"}
    refused = command(
        *("judge", "--judge", "reference", "--reference", base, "--out", out, "--outputs", long)
    )
    assert "scores by a gold answer" in refused.sentence()
