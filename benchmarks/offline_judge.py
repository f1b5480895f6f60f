"""How good the offline judge is, with 95% intervals from a bootstrap over instructions.

    python benchmarks/offline_judge.py FOLDER [--quick]

1. Cross-validated on the judged models: models left out (eight parts), then instructions as well
   (eight parts of each: all 64 cells for answers against the baseline's, its diagonal for others).
   AUC against GPT-4-Turbo's decision (preference > 1.5), over all rows, and within an instruction:
   the concordance over pairs of models on one instruction, averaged over instructions with both
   outcomes. Both also over all but the FuseChat models, which are nearly all strong ones there are.
   Then pairs of two judged models, both left out, and controls of models left out. The first of
   the two also writes the calibration that comes with the judge.
2. The shipped judge on the models without judgements: Spearman of its win rate and LC with the
   published ones, which had no part in training or choice.
3. The embedded prompts' gold answers against their controls; comparisons a second on one core.

Needs LightGBM for 1, which takes half an hour of two cores; --quick leaves it out.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from alpaca_archive import Archive, load
from offline_controls import KINDS, spoil
from scipy.stats import rankdata, spearmanr

from harness import codec
from harness.calibrations import file_name
from harness.data.archive import YARDSTICK
from harness.data.sources import load_prompts
from harness.judges.offline.judge import OfflineJudge
from harness.scoring.bootstrap import interval
from harness.scoring.calibration import Comparisons, Swapped, calibrate
from harness.scoring.controls import control_text
from harness.scoring.summary import summarise
from harness.types import Completion, Judgement, Match, Message, Prompt

if TYPE_CHECKING:
    from offline_training import Pairs

PARTS = 8
REPLICATES = 200
CALIBRATIONS = Path(__file__).parent.parent / "harness" / "judges" / "calibrations"
CONTROL_NAMES = ("null", "padded", "shortened")


# --- figures ----------------------------------------------------------------------------------


def auc(won: np.ndarray, score: np.ndarray) -> float:
    ranks, wins = rankdata(score), int(won.sum())
    return float((ranks[won].sum() - wins * (wins + 1) / 2) / (wins * (len(won) - wins)))


def within(won: np.ndarray, score: np.ndarray) -> float | None:
    return auc(won, score) if 0 < won.sum() < len(won) else None


def by_instruction(idx: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(idx, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(idx[order])) + 1)


def said(name: str, value: float, replicates: list[float]) -> None:
    low, high = interval(np.array(replicates))
    print(f"  {name:44} {value:.4f} [{low:.4f}, {high:.4f}]", flush=True)


def say_auc(name: str, idx: np.ndarray, won: np.ndarray, score: np.ndarray) -> None:
    groups, rng = by_instruction(idx), np.random.default_rng(0)
    each = [within(won[g], score[g]) for g in groups]
    overall, inside = [], []
    for _ in range(REPLICATES):
        drawn = rng.integers(0, len(groups), len(groups))
        rows = np.concatenate([groups[i] for i in drawn])
        overall.append(auc(won[rows], score[rows]))
        inside.append(float(np.mean([v for i in drawn if (v := each[i]) is not None])))
    said(f"{name}: AUC", auc(won, score), overall)
    said(
        f"{name}: AUC within an instruction",
        float(np.mean([v for v in each if v is not None])),
        inside,
    )


def say_share(name: str, idx: np.ndarray, right: np.ndarray) -> None:
    groups, rng = by_instruction(idx), np.random.default_rng(0)
    sums = np.array([[right[g].sum(), len(g)] for g in groups], dtype=float)
    drawn = rng.integers(0, len(groups), (REPLICATES, len(groups)))
    total = sums[drawn].sum(axis=1)
    said(f"{name} (n = {len(right)})", float(right.mean()), list(total[:, 0] / total[:, 1]))


# --- 1. cross-validation ----------------------------------------------------------------------


def cross_validate(archive: Archive, outputs: pd.DataFrame) -> None:
    from build_offline_judge import out_of_fold, out_of_fold_against
    from offline_training import logits, training_pairs

    from harness.judges.offline.model import shipped

    pairs, (model, _) = training_pairs(archive, outputs), shipped()
    baseline = pairs.kind == "baseline"
    print("models left out:")
    parts = out_of_fold(pairs, PARTS)
    logit, alone = logits(pairs, parts, model.known, model.alone).T
    say_against(archive, pairs.where(baseline), logit[baseline])
    ship(OfflineJudge().identity, pairs.where(baseline), logit[baseline], archive)
    say_others(pairs, logit, alone)
    print("models and instructions left out:", flush=True)
    against = out_of_fold_against(pairs, PARTS, PARTS)[baseline]
    say_against(archive, pairs.where(baseline), against)
    parts = out_of_fold(pairs, PARTS, instructions=PARTS, diagonal=True)
    say_others(pairs, *logits(pairs, parts, model.known, model.alone).T)


def say_against(archive: Archive, pairs: Pairs, logit: np.ndarray) -> None:
    """Answers against the baseline's."""
    won = pairs.label > 0.5
    say_auc("against the baseline", pairs.idx, won, logit)
    calibration(pairs.label, logit)
    say_models(archive, pairs.a, logit)
    weak = ~np.char.startswith(pairs.a.astype(str), "FuseChat")
    say_auc("without FuseChat", pairs.idx[weak], won[weak], logit[weak])


def say_others(pairs: Pairs, logit: np.ndarray, alone: np.ndarray) -> None:
    """Pairs of two models, and controls, of those that have a figure."""
    from offline_training import BASELINE

    unseen = ~np.isnan(logit)
    strong = [np.char.startswith(side.astype(str), "FuseChat") for side in (pairs.a, pairs.b)]
    for kind in ("derived", *KINDS):
        rows = unseen & (pairs.kind == kind) & (pairs.a != BASELINE)
        if kind == "derived":
            both = rows & ~strong[0] & ~strong[1]
            say_share("derived, no FuseChat", pairs.idx[both], logit[both] > 0)
            say_share("derived, no FuseChat, no reference", pairs.idx[both], alone[both] > 0)
        say_share(f"{kind}, reference known", pairs.idx[rows], logit[rows] > 0)
        say_share(f"{kind}, no reference", pairs.idx[rows], alone[rows] > 0)
        rows = unseen & (pairs.kind == kind) & (pairs.a == BASELINE)
        if rows.any():
            say_share(f"{kind}, the reference made worse", pairs.idx[rows], logit[rows] > 0)


def ship(identity: str, pairs: Pairs, logit: np.ndarray, archive: Archive) -> None:
    """The calibration that comes with the judge: each model's answers by a judge that learned from
    the others. Position has no part in the verdict, so both orders say the same."""
    p = 1 / (1 + np.exp(-logit))
    rows = archive.annotations.set_index(["model", "idx"]).loc[
        list(zip(pairs.a, pairs.idx, strict=True))
    ]
    comparisons = Comparisons(
        judge=p,
        yardstick=pairs.label,
        longer=np.sign(rows.len_model - rows.len_baseline).to_numpy(dtype=np.float64),
        model=np.unique(pairs.a, return_inverse=True)[1],
        instruction=pairs.idx.astype(np.int64),
    )
    note = "cross-validated: each model judged by what was learned from the others"
    found = calibrate(identity, YARDSTICK, comparisons, Swapped(p, p), 0, 0, note)
    path = CALIBRATIONS / file_name(identity)
    path.parent.mkdir(exist_ok=True)
    codec.write_json(path, codec.dump(found))
    print(f"  written: {path.name}")


def say_models(archive: Archive, model: np.ndarray, logit: np.ndarray) -> None:
    """The judged models' own ranking, each by a judge that has not seen it."""
    p = pd.Series(1 / (1 + np.exp(-logit))).groupby(model).mean()
    published = [archive.published(name).win_rate for name in p.index]
    print(f"  Spearman with the published win rate, {len(p)} models: ", end="")
    print(f"{spearmanr(p, published)[0]:.4f}")


def calibration(label: np.ndarray, logit: np.ndarray) -> None:
    """Predicted and actual means in tenths of the predictions, as they are, and their gap."""
    p = 1 / (1 + np.exp(-logit))
    tenths = np.array_split(np.argsort(p), 10)
    told = "  ".join(f"{p[t].mean():.2f}/{label[t].mean():.2f}" for t in tenths)
    gap = float(np.mean([abs(p[t].mean() - label[t].mean()) for t in tenths]))
    print(f"  calibration, predicted/actual: {told}; mean gap {gap:.3f}")


# --- 2. models without judgements -------------------------------------------------------------


def judged_by(judge: OfflineJudge, archive: Archive, outputs: pd.DataFrame) -> list[Judgement]:
    """One model's outputs against the baseline's."""
    matches = []
    for row in outputs.itertuples():
        x = archive.instructions.loc[row.idx]
        prompt = Prompt(str(row.idx), (Message("user", x.instruction),), x.gpt4_1106_preview_output)
        sides = (
            Completion(prompt.id, 0, t or "") for t in (row.output, x.gpt4_1106_preview_output)
        )
        matches.append(Match(prompt.id, prompt, *sides))
    return [
        Judgement(m.prompt.instruction, v.p, v.error, len(m.a.text), len(m.b.text))
        for m, v in zip(matches, judge.compare(matches), strict=True)
    ]


def unjudged(archive: Archive, outputs: pd.DataFrame) -> None:
    names = sorted(set(outputs.model) - set(archive.judged()))
    figures = []
    for name in names:
        mine = outputs[outputs.model == name]
        summary = summarise(judged_by(OfflineJudge(), archive, mine), 0)
        published, lc = archive.published(name), summary.length_control
        assert lc is not None
        here = (summary.win_rate.value, lc.value)
        figures.append((*here, published.win_rate, published.length_controlled_winrate))
        print(f"  {name:36} win rate {here[0]:5.1f} ({published.win_rate:5.1f})", end="  ")
        print(f"LC {here[1]:5.1f} ({published.length_controlled_winrate:5.1f})")
    table, rng = np.array(figures), np.random.default_rng(0)
    for name, column in (("win rate", 0), ("LC", 1)):
        draws = [table[rng.integers(0, len(table), len(table))] for _ in range(1000)]
        rho = [float(spearmanr(d[:, column], d[:, column + 2])[0]) for d in (table, *draws)]
        said(f"Spearman with the published {name}, {len(table)} models", rho[0], rho[1:])


# --- 3. controls and speed --------------------------------------------------------------------


def gold_controls() -> None:
    rng, judge = Random(0), OfflineJudge()
    prompts = [*load_prompts("mini", "eval"), *load_prompts("mini", "train")]
    for kind in (*CONTROL_NAMES, *KINDS):
        matches = []
        for prompt in prompts:
            gold, other = prompt.gold or "", rng.choice(prompts).gold or ""
            worse = (
                control_text(kind, gold) if kind in CONTROL_NAMES else spoil(kind, gold, rng, other)
            )
            if worse.strip() != gold.strip():
                sides = (Completion(prompt.id, i, text) for i, text in enumerate((gold, worse)))
                matches.append(Match(prompt.id, prompt, *sides))
        won = np.array([(v.p or 0) > 0.5 for v in judge.compare(matches)])
        say_share(f"gold beats {kind}", np.arange(len(won)), won)


def speed(archive: Archive, outputs: pd.DataFrame) -> None:
    mine = outputs[outputs.model == outputs.model.iloc[0]]
    start = time.process_time()
    n = len(judged_by(OfflineJudge(), archive, mine))
    print(f"  {n / (time.process_time() - start):.0f} comparisons a second, no answer read before")


def main() -> None:
    quick = "--quick" in sys.argv
    sys.argv = [a for a in sys.argv if a != "--quick"]
    archive = load()
    outputs = pd.read_parquet(Path(sys.argv[1]) / "outputs.parquet")
    print(OfflineJudge().identity)
    if not quick:
        cross_validate(archive, outputs)
    print("models without judgements, here (published):")
    unjudged(archive, outputs)
    print("the embedded prompts' gold answers:")
    gold_controls()
    speed(archive, outputs)


if __name__ == "__main__":
    main()
