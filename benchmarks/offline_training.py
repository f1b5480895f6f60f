"""Training pairs for the offline judge, and its training: shared by the build and the benchmark.

Three kinds of pairs. `baseline`: a model's answer against GPT-4-Turbo's, the label GPT-4-Turbo's
soft preference. `derived`: two models' answers to one instruction, the label what their two
preferences over the baseline say of each other (Bradley-Terry: σ of the difference of the logits),
kept where that is clear. The kinds of `offline_controls`: an answer against a version of itself
that was made worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import lightgbm
import numpy as np
import pandas as pd
from alpaca_archive import Archive
from offline_controls import KINDS, spoil
from offline_export import exported
from scipy.optimize import minimize

from harness.judges.offline.model import Model, Trees, key
from harness.judges.offline.pairs import Answer, Asked, row

ATTACKS = ("NullModel",)
"""Not a model but an attack on the judge that was then used: nothing to learn from."""
BASELINE = "gpt4_1106_preview"
DERIVED = 50
"""Derived pairs an instruction, and..."""
CLEAR = 1.5
"""...by how many logits the two preferences must differ."""
CONTROLS = 3
"""Models' answers an instruction that each kind of control is made from, beside the baseline's."""
LEAST, MOST = 0.001, 0.97
"""Preferences count no further than this in derived pairs, and neither do their labels."""
SURE = 0.95
"""How sure it is that an answer beats a version of itself that was made worse."""
SPOILT = {"padded": 0.4, "repeated": 0.3, "truncated": 0.3}
"""What is left of a model's P(beats the baseline) when its answer is made worse so; and..."""
LOST = {"null": 0.004, "foreign": 0.01, "salad": 0.01}
"""...the most that is left after this."""
SPOILT_BASELINE = {"padded": 0.15, "repeated": 0.08, "truncated": 0.08}
"""The baseline's own answer made worse, against itself."""
SEED = 20231106
INSTRUCTIONS = 805
SPREAD = 1.0
"""The deviation, in log-odds, of how easily references are beaten beyond what the texts tell."""
SEEDS = 3
"""So often are `reference`'s trees grown, for the mean..."""
PLAIN_TREES, RANDOM_TREES, RIVALS_TREES = 100, 400, 500
"""...with so many each time."""
GROWTH = {
    "objective": "cross_entropy",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "max_depth": 8,
    "min_data_in_leaf": 60,
    "lambda_l2": 50.0,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 63,
    "seed": SEED,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
RANDOM = {**GROWTH, "extra_trees": True, "feature_fraction": 0.7}
"""Each split at a random threshold: worse by themselves, but wrong in other places."""

FAMILIES = {
    "alpaca": (
        "alpaca-7b",
        "alpaca-7b_verbose",
        "alpaca-farm-ppo-human",
        "alpaca-farm-ppo-sim-gpt4-20k",
    ),
    "claude": ("claude", "claude-2", "claude-2.1"),
    "gpt-3.5": (
        *("gpt-3.5-turbo-1106", "gpt-3.5-turbo-1106_concise", "gpt-3.5-turbo-1106_verbose"),
        "gpt35_turbo_instruct",
    ),
    "gpt-4": ("gpt4_0613_concise", "gpt4_gamed"),
    "oasst": (
        *("oasst-rlhf-llama-33b", "oasst-sft-llama-33b", "oasst-sft-pythia-12b"),
        "pythia-12b-mix-sft",
    ),
    "openbuddy": (
        *("openbuddy-llama-30b-v7.1", "openbuddy-llama2-13b-v11.1", "openbuddy-llama2-70b-v10.1"),
    ),
    "phi": ("phi-2", "phi-2-sft"),
    "vicuna": ("vicuna-13b", "vicuna-13b-v1.5", "vicuna-7b", "vicuna-7b-v1.3", "vicuna-7b-v1.5"),
}
"""Kept in one fold. The four FuseChat models are not: they are nearly all strong models there are,
and without any of them nothing strong is left to learn from."""
FUSECHAT = "FuseChat"


A_BASE, B_BASE, A_B, B_A = range(4)
"""The rows of a pair: a beside the baseline's answer, b beside it, a beside b, b beside a."""


@dataclass(frozen=True)
class Pairs:
    """[n] pairs. `rows` [n, 4, features]; those that there is no use for are zero. `a` and `b` are
    models' names (of a control both are that of the answer it was made from); `label` is P(a wins);
    `preference` is what of b's P(beats the baseline) is taken for known in training."""

    kind: np.ndarray
    idx: np.ndarray
    a: np.ndarray
    b: np.ndarray
    label: np.ndarray
    preference: np.ndarray
    rows: np.ndarray

    def where(self, keep: np.ndarray) -> Pairs:
        columns = (self.kind, self.idx, self.a, self.b, self.label, self.preference, self.rows)
        return Pairs(*(x[keep] for x in columns))


def training_pairs(archive: Archive, outputs: pd.DataFrame) -> Pairs:
    """All pairs, of all judged models."""
    texts = outputs.pivot(index="idx", columns="model", values="output")
    said = archive.annotations.pivot(index="idx", columns="model", values="preference") - 1
    preferences = said.drop(columns=list(ATTACKS)).where(lambda p: (p >= 0) | p.isna(), 0.5)
    columns: tuple[list, ...] = ([], [], [], [], [], [], [])
    for idx, preference in preferences.iterrows():
        rng = Random(f"{SEED} {idx}")
        x = archive.instructions.loc[idx]
        elsewhere = texts.loc[rng.choice([i for i in texts.index if i != idx])]
        baseline = x.gpt4_1106_preview_output
        one = Instruction(x.instruction, baseline, preference.dropna(), texts.loc[idx])
        for pair in one.pairs(rng, elsewhere):
            for column, value in zip(columns, (pair[0], idx, *pair[1:]), strict=True):
                column.append(value)
    return Pairs(*map(np.array, columns[:6]), np.stack(columns[6]))


class Instruction:
    """One instruction's judged answers, each read once."""

    def __init__(self, text: str, baseline: str, preference: pd.Series, texts: pd.Series) -> None:
        self.asked = Asked.of(text)
        self.preference = preference
        self.texts = {m: texts[m] or "" for m in preference.index} | {BASELINE: baseline}
        self.answers = {m: Answer.of(self.asked, text) for m, text in self.texts.items()}

    def pairs(self, rng: Random, elsewhere: pd.Series) -> Iterator[tuple]:
        """(kind, a, b, label, preference, rows), without the instruction's number."""
        for model, p in self.preference.items():
            rows = self._rows(self.answers[model], None)
            yield "baseline", model, BASELINE, p, np.nan, rows
        for a, b, label in self._derived(rng):
            rows = self._rows(self.answers[a], self.answers[b])
            yield "derived", a, b, label, np.nan, rows
        models = list(self.preference.index)
        for kind in KINDS:
            for model in (BASELINE, *(rng.choice(models) for _ in range(CONTROLS))):
                foreign = elsewhere[rng.choice(models)] or ""
                text = spoil(kind, self.texts[model], rng, foreign)
                if text.strip() != self.texts[model].strip():
                    worse = Answer.of(self.asked, text)
                    rows = self._rows(self.answers[model], worse)
                    yield kind, model, model, SURE, self._left(kind, model), rows

    def _rows(self, a: Answer, b: Answer | None) -> np.ndarray:
        base, x = self.answers[BASELINE], self.asked
        first = row(x, a, base)
        if b is None:
            return np.stack([first, *[np.zeros_like(first)] * 3])
        return np.stack([first, row(x, b, base), row(x, a, b), row(x, b, a)])

    def _left(self, kind: str, model: str) -> float:
        """P(beats the baseline) of a model's answer after it was made worse."""
        p = 0.5 if model == BASELINE else float(self.preference[model])
        if kind in LOST:
            return min(LOST[kind], p)
        return SPOILT_BASELINE[kind] if model == BASELINE else SPOILT[kind] * p

    def _derived(self, rng: Random) -> Iterator[tuple[str, str, float]]:
        """Half of them, if there are enough, of one that beat the baseline and one that lost."""
        p = self.preference.clip(LEAST, 1 - LEAST)
        logit = np.log(p / (1 - p))
        clear = [(a, b) for a in logit.index for b in logit.index if logit[a] - logit[b] >= CLEAR]
        split = [(a, b) for a, b in clear if p[a] > 0.5 > p[b]]
        rest = [pair for pair in clear if pair not in set(split)]
        for group in (split, rest):
            for a, b in rng.sample(group, min(len(group), DERIVED // 2)):
                label = 1 / (1 + np.exp(logit[b] - logit[a]))
                yield a, b, float(min(label, MOST))


def folds(
    pairs: Pairs,
    models: int,
    *,
    instructions: int = 1,
    diagonal: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(learnt, tested) masks with models, and with `instructions` > 1 also those, left out.

    A tested pair has its models in one part (the baseline is in all), a learnt one has none there;
    controls made from the baseline are tested in the part that their instruction's number says.
    With `diagonal` each part of the models meets one part of the instructions only.
    """
    part = parts(sorted({*pairs.a, *pairs.b} - {BASELINE}), models)
    first, second = (np.array([part.get(name, -1) for name in side]) for side in (pairs.a, pairs.b))
    order = np.random.default_rng(SEED).permutation(int(pairs.idx.max()) + 1)
    where = order[pairs.idx] % instructions
    own = (first == -1) & (second == -1)
    first, second = (np.where(own, pairs.idx % models, side) for side in (first, second))
    for k in range(models):
        seen = (first == k) | (second == k)
        ours = np.isin(first, (k, -1)) & np.isin(second, (k, -1)) & seen
        for i in range(instructions):
            if not diagonal or i == k % instructions:
                asked = where == i
                yield ~seen & ~(asked & (instructions > 1)), ours & asked


def parts(models: list[str], n: int) -> dict[str, int]:
    """Each model's part of n: families are not split, the largest first into the emptiest."""
    family = {model: name for name, members in FAMILIES.items() for model in members}
    groups: dict[str, list[str]] = {}
    for model in models:
        groups.setdefault(family.get(model, model), []).append(model)
    strong = [name for name in groups if name.startswith(FUSECHAT)]
    rest = sorted(set(groups) - set(strong), key=lambda name: (-len(groups[name]), name))
    found, size = {}, [0] * n
    for number, name in enumerate([*strong, *rest]):
        into = number % n if name in strong else size.index(min(size))
        size[into] += len(groups[name])
        found |= dict.fromkeys(groups[name], into)
    return found


Ensemble = tuple[lightgbm.Booster, ...]
"""What they say in the mean."""


@dataclass(frozen=True)
class Ensembles:
    """What is learned of pairs, before it is known how much each of the two counts. `weak` [every
    instruction's number] is `Model.weak`, 0 where nothing was learned."""

    reference: Ensemble
    rivals: Ensemble
    weak: np.ndarray

    @classmethod
    def grown(cls, pairs: Pairs) -> Ensembles:
        """The same pairs give the same trees, to the bit, on one machine.

        Both learn from answers against the baseline's, as they are and made worse; `rivals` also
        from two answers side by side, of models and of controls, in both orders. One ensemble for
        both did worse on unseen models, and so did one that is trained to be antisymmetric.
        """
        control = np.isin(pairs.kind, KINDS)
        side = (pairs.kind == "derived") | (control & (pairs.a != BASELINE))
        beside = [
            (pairs.rows[side, A_B], pairs.label[side], 0.5),
            (pairs.rows[side, B_A], 1 - pairs.label[side], 0.5),
        ]
        rivals = _grown([*_against(pairs), *beside], RIVALS_TREES, GROWTH)
        one = reference(pairs)
        return cls(one, (rivals,), _weak(pairs, one))

    def parts(self, pairs: Pairs) -> np.ndarray:
        """[n, 2] how much better a fares against the baseline than b does (or, where b or a is the
        baseline's answer, how it or its rival fares), and how a looks beside b; in log-odds."""
        a, b = (
            said(self.reference, pairs.rows[:, at]) + self.weak[pairs.idx]
            for at in (A_BASE, B_BASE)
        )
        a = np.where((pairs.a == BASELINE), 0.0, a)
        b = np.where((pairs.b == BASELINE) & (pairs.a != BASELINE), 0.0, b)
        ab, ba = (said(self.rivals, pairs.rows[:, at]) for at in (A_B, B_A))
        return np.stack([a - b, ab - ba], axis=1)

    def model(self, archive: Archive, known: np.ndarray, alone: np.ndarray) -> Model:
        trees = (Trees(**exported(ensemble)) for ensemble in (self.reference, self.rivals))
        texts = archive.instructions
        met = np.array([key(x.instruction, x.gpt4_1106_preview_output) for x in texts.itertuples()])
        order = np.argsort(met)
        weak = self.weak[texts.index.to_numpy()][order].astype(np.float32)
        return Model(*trees, met[order], weak, known, alone)


def reference(pairs: Pairs) -> Ensemble:
    """The half of `Ensembles` that judges answers against the baseline's. Few trees, since with
    more they learn the instructions by heart: 1,500 grown one upon the other have 0.002 less AUC on
    new ones than 300. The mean over seeds has 0.0005 more than one."""
    against = _against(pairs)
    return tuple(
        _grown(against, trees, {**growth, "seed": SEED + number})
        for number in range(SEEDS)
        for trees, growth in ((PLAIN_TREES, GROWTH), (RANDOM_TREES, RANDOM))
    )


def _weak(pairs: Pairs, ensemble: Ensemble) -> np.ndarray:
    """The likeliest offset of each instruction's log-odds beside what the ensemble says, offsets
    being normal about 0: by Newton's method."""
    rows = pairs.kind == "baseline"
    idx, label = pairs.idx[rows], pairs.label[rows]
    logit = said(ensemble, pairs.rows[rows, A_BASE])
    weak = np.zeros(INSTRUCTIONS)
    for _ in range(30):
        p = 1 / (1 + np.exp(-logit - weak[idx]))
        slope = np.bincount(idx, label - p, INSTRUCTIONS) - weak / SPREAD**2
        bend = np.bincount(idx, p * (1 - p), INSTRUCTIONS) + 1 / SPREAD**2
        weak += np.clip(slope / bend, -1, 1)
    return weak


def said(ensemble: Ensemble, rows: np.ndarray) -> np.ndarray:
    """[n] log-odds for rows [n, features]."""
    return np.mean([booster.predict(rows, raw_score=True) for booster in ensemble], axis=0)


_Weighted = tuple[np.ndarray, np.ndarray, float]
"""Rows [n, features], labels [n], and what each counts."""


def _against(pairs: Pairs) -> list[_Weighted]:
    baseline, control = pairs.kind == "baseline", np.isin(pairs.kind, KINDS)
    return [
        (pairs.rows[baseline, A_BASE], pairs.label[baseline], 1.0),
        (pairs.rows[control, B_BASE], pairs.preference[control], 0.5),
    ]


def _grown(parts: list[_Weighted], trees: int, growth: dict) -> lightgbm.Booster:
    rows, label = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    weight = np.concatenate([np.full(len(part[0]), part[2]) for part in parts])
    data = lightgbm.Dataset(rows, label, weight=weight, params=growth)
    return lightgbm.train(growth, data, trees)


def logits(pairs: Pairs, parts: np.ndarray, known: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """[n, 2] the judge's log-odds that a wins, with the baseline's answer as the prompt's reference
    and without one."""
    beside = parts[:, 1] * alone[0]
    is_one = (pairs.a == BASELINE) | (pairs.b == BASELINE)
    return np.stack([np.where(is_one, parts[:, 0], parts @ known), beside], axis=1)


def counted(pairs: Pairs, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(known, alone): what makes the labels of pairs of two models, unseen both, likeliest."""
    side = pairs.kind == "derived"
    label = pairs.label[side]

    def best(x: np.ndarray) -> np.ndarray:
        def loss(weights: np.ndarray) -> float:
            logit = x @ weights
            return float((np.logaddexp(0, logit) - label * logit).mean())

        start = np.full(x.shape[1], 0.5)
        return minimize(loss, start, method="Nelder-Mead").x

    return best(parts[side]), best(parts[side, 1:])
