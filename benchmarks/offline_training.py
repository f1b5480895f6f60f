"""Training pairs for the offline judge, and its training: shared by the build and the benchmark.

Three kinds of pairs. `baseline`: a model's answer against GPT-4-Turbo's, the label GPT-4-Turbo's
soft preference. `derived`: two models' answers to one instruction, the label what their two
preferences over the baseline say of each other (Bradley-Terry: σ of the difference of the logits),
kept where that is clear. `control`: an answer against a worse version of itself.
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
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from harness.judges.offline.model import Model
from harness.judges.offline.pairs import TERMS, Answer, Asked, both_orders

ATTACKS = ("NullModel",)
"""Not a model but an attack on the judge that was then used: nothing to learn from."""
BASELINE = "gpt4_1106_preview"
DERIVED = 50
"""Derived pairs an instruction, and..."""
CLEAR = 1.5
"""...by how many logits the two preferences must differ."""
CONTROLS = 10
"""Controls an instruction."""
CONTROL_LABEL = 0.98
"""How sure it is that an answer beats a spoilt version of itself."""
LEAST, MOST = 0.001, 0.97
"""Preferences count no further than this, and neither do derived labels."""
WEIGHTS = {"baseline": 1.0, "derived": 0.5, "control": 1.0}
SEED = 20231106
SEEN = 20
"""Words in fewer answers than this are left out."""
TREES = 500
GROWTH = {
    "objective": "cross_entropy",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "max_depth": 8,
    "min_data_in_leaf": 60,
    "lambda_l2": 5.0,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 63,
    "boost_from_average": False,
    "seed": SEED,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}

Terms = np.ndarray
"""Hashes of an answer's words."""

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
and without any of them nothing strong is left to learn from (that harder figure is printed too)."""
FUSECHAT = "FuseChat"


@dataclass(frozen=True)
class Pairs:
    """[n] pairs. `rows` [n, 2, features] in both orders; `a` and `b` are models' names (of a
    control both are that of the answer it was made from); `label` is P(a wins)."""

    kind: np.ndarray
    idx: np.ndarray
    a: np.ndarray
    b: np.ndarray
    label: np.ndarray
    rows: np.ndarray
    answers: list[tuple[Terms, Terms]]

    def where(self, keep: np.ndarray) -> Pairs:
        at = np.flatnonzero(keep)
        arrays = (self.kind, self.idx, self.a, self.b, self.label, self.rows)
        return Pairs(*(x[at] for x in arrays), [self.answers[i] for i in at])


def training_pairs(archive: Archive, outputs: pd.DataFrame) -> Pairs:
    """All pairs, of all judged models."""
    texts = outputs.pivot(index="idx", columns="model", values="output")
    said = archive.annotations.pivot(index="idx", columns="model", values="preference") - 1
    preferences = said.drop(columns=list(ATTACKS)).where(lambda p: (p >= 0) | p.isna(), 0.5)
    columns: tuple[list, ...] = ([], [], [], [], [], [], [])
    for idx, row in preferences.iterrows():
        rng = Random(f"{SEED} {idx}")
        x = archive.instructions.loc[idx]
        elsewhere = texts.loc[rng.choice([i for i in texts.index if i != idx])]
        one = Instruction(x.instruction, x.gpt4_1106_preview_output, row.dropna(), texts.loc[idx])
        for pair in one.pairs(rng, elsewhere):
            for column, value in zip(columns, (pair[0], idx, *pair[1:]), strict=True):
                column.append(value)
    return Pairs(*map(np.array, columns[:5]), np.stack(columns[5]), columns[6])


class Instruction:
    """One instruction's judged answers, each read once."""

    def __init__(self, text: str, baseline: str, preference: pd.Series, texts: pd.Series) -> None:
        self.asked = Asked.of(text)
        self.preference = preference
        self.texts = {m: texts[m] or "" for m in preference.index} | {BASELINE: baseline}
        self.answers = {m: Answer.of(self.asked, text) for m, text in self.texts.items()}

    def pairs(self, rng: Random, elsewhere: pd.Series) -> Iterator[tuple]:
        """(kind, a, b, label, rows, terms), without the instruction's number."""
        for model, p in self.preference.items():
            yield self._pair("baseline", model, BASELINE, p, referenced=False)
        for a, b, label in self._derived(rng):
            yield self._pair("derived", a, b, label, referenced=rng.random() < 0.5)
        for number in range(CONTROLS):
            kind, model = KINDS[number % len(KINDS)], rng.choice(list(self.answers))
            foreign = elsewhere[rng.choice(list(self.preference.index))] or ""
            text = spoil(kind, self.texts[model], rng, foreign)
            if text.strip() != self.texts[model].strip():
                worse = Answer.of(self.asked, text)
                referenced = model != BASELINE and rng.random() < 0.5
                yield self._pair(kind, model, model, CONTROL_LABEL, referenced=referenced, b_=worse)

    def _pair(
        self, kind: str, a: str, b: str, label: float, *, referenced: bool, b_: Answer | None = None
    ) -> tuple:
        first, second = self.answers[a], b_ or self.answers[b]
        reference = self.answers[BASELINE].reading if referenced else None
        rows = both_orders(self.asked, first, second, reference)
        return kind, a, b, label, rows, (first.terms, second.terms)

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
    together: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(learnt, tested) masks with models, and with `instructions` > 1 also those, left out.

    A tested pair has its models in one part (the baseline is in all), a learnt one has none there.
    With `diagonal` each part of the models meets one part of the instructions only, with `together`
    the FuseChat models share one part.
    """
    part = parts(sorted({*pairs.a, *pairs.b} - {BASELINE}), models, together=together)
    first, second = (np.array([part.get(name, -1) for name in side]) for side in (pairs.a, pairs.b))
    order = np.random.default_rng(SEED).permutation(int(pairs.idx.max()) + 1)
    where = order[pairs.idx] % instructions
    for k in range(models):
        seen = (first == k) | (second == k)
        ours = np.isin(first, (k, -1)) & np.isin(second, (k, -1)) & seen
        for i in range(instructions):
            if not diagonal or i == k % instructions:
                asked = where == i
                yield ~seen & ~(asked & (instructions > 1)), ours & asked


def parts(models: list[str], n: int, *, together: bool) -> dict[str, int]:
    """Each model's part of n: families are not split, the largest first into the emptiest."""
    family = {model: name for name, members in FAMILIES.items() for model in members}
    groups: dict[str, list[str]] = {}
    for model in models:
        own = FUSECHAT if together and model.startswith(FUSECHAT) else model
        groups.setdefault(family.get(model, own), []).append(model)
    strong = [name for name in groups if name.startswith(FUSECHAT)]
    rest = sorted(set(groups) - set(strong), key=lambda name: (-len(groups[name]), name))
    found, size = {}, [0] * n
    for number, name in enumerate([*strong, *rest]):
        into = number % n if name in strong else size.index(min(size))
        size[into] += len(groups[name])
        found |= dict.fromkeys(groups[name], into)
    return found


def trained(pairs: Pairs, mix: tuple[float, float], *, trees: int = TREES) -> Model:
    """A model of some pairs; the same pairs give the same model, to the bit, on one machine."""
    ensemble = _grown(pairs, trees)
    weights, rarity = _words(pairs)
    return Model(
        **exported(ensemble), weights=weights, rarity=rarity, mix=np.array(mix, dtype=np.float64)
    )


def _grown(pairs: Pairs, trees: int) -> lightgbm.Booster:
    rows = np.concatenate([pairs.rows[:, 0], pairs.rows[:, 1]])
    label = np.concatenate([pairs.label, 1 - pairs.label])
    weight = np.tile([WEIGHTS.get(kind, WEIGHTS["control"]) for kind in pairs.kind], 2)
    data = lightgbm.Dataset(rows, label, weight=weight, params=GROWTH)
    return lightgbm.train(GROWTH, data, trees)


def _words(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression without intercept on differences of tf-idf vectors of unit length.

    On `baseline` pairs alone: with the others it did worse.
    """
    learnt = pairs.where(pairs.kind == "baseline")
    distinct = {id(terms): terms for pair in learnt.answers for terms in pair}
    place = {key: i for i, key in enumerate(distinct)}
    counts = csr(list(distinct.values()))
    frequency = np.asarray(counts.sum(axis=0)).ravel()
    rarity = np.minimum(np.log(len(distinct) / (1 + frequency)), 6.0) * (frequency >= SEEN)
    vectors = counts @ sparse.diags(rarity)
    norms = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1))).ravel()
    vectors = (sparse.diags(1 / np.maximum(norms, 1e-9)) @ vectors).tocsr()
    a, b = ([place[id(pair[side])] for pair in learnt.answers] for side in (0, 1))
    difference = vectors[a] - vectors[b]
    found = LogisticRegression(C=3.0, max_iter=80, tol=1e-6, fit_intercept=False).fit(
        sparse.vstack([difference, difference]),
        np.repeat([1, 0], len(a)),
        sample_weight=np.concatenate([learnt.label, 1 - learnt.label]),
    )
    return found.coef_[0].astype(np.float32), rarity.astype(np.float32)


def csr(texts: list[Terms]) -> sparse.csr_array:
    ends = np.cumsum([0, *map(len, texts)])
    ones = np.ones(ends[-1])
    return sparse.csr_array((ones, np.concatenate(texts), ends), shape=(len(texts), TERMS))
