"""How a policy is scored: on what, how it decodes, by whom, against whom. No run, no method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.access import Access
from harness.config import BenchmarkConfig
from harness.data import alpaca_eval
from harness.data.sources import MINI_VERSION, digest, load_prompts
from harness.data.standin import NotHereError
from harness.errors import HarnessError
from harness.judges.adapters import as_pair_judge
from harness.types import Completion, PairJudge, Prompt, SampleSpec, Source


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Evaluation prompts under a name that says version and size.

    `gold_name` is what their gold answers are called, `is_alpaca` says whether these are AlpacaEval
    2.0's prompts and baseline; `missing` prompts are left out since a file has no output for them.
    `assumed` is not empty where a plan counts with stand-ins, and says so.
    """

    version: str
    prompts: tuple[Prompt, ...]
    gold_name: str = "the reference answers"
    is_alpaca: bool = False
    missing: int = 0
    assumed: str = ""

    @property
    def name(self) -> str:
        size = len(self.prompts)
        of = f" of {size + self.missing}" if self.missing else ""
        return f"{self.version} ({size}{of} prompts)"

    @property
    def has_gold(self) -> bool:
        return all(prompt.gold is not None for prompt in self.prompts)

    def gold(self) -> tuple[Completion, ...]:
        """The reference answers, as completions."""
        return tuple(
            Completion(prompt.id, 0, prompt.gold, source="gold")
            for prompt in self.prompts
            if prompt.gold is not None
        )


@dataclass(frozen=True)
class Evaluation:
    """All that decides a policy's scores beside the policy itself.

    `decoding` says in words how outputs come about; `start` names the policy whose outputs are
    the opponent where the gold answers cannot be.
    """

    benchmark: Benchmark
    settings: BenchmarkConfig
    judge: PairJudge
    judge_revision: str
    seed: int
    decoding: str
    start: str

    @property
    def opponent_is_gold(self) -> bool:
        """A judge that scores by the gold answer must not rank it: then the opponent is the
        start model's own output."""
        return self.benchmark.has_gold and not self.judge.reference_based

    @property
    def opponent(self) -> str:
        return self.benchmark.gold_name if self.opponent_is_gold else self.start

    @property
    def is_alpaca(self) -> bool:
        """Whether scores may be called AlpacaEval 2.0's: its prompts, against its baseline."""
        return self.benchmark.is_alpaca and self.opponent_is_gold

    def spec(self, source: Source) -> SampleSpec:
        """How outputs are decoded."""
        return SampleSpec(
            samples=1,
            temperature=self.settings.temperature,
            top_p=self.settings.top_p,
            max_new_tokens=self.settings.max_new_tokens,
            seed=self.seed,
            source=source,
        )


def decoding_text(settings: BenchmarkConfig) -> str:
    greedy = settings.temperature == 0
    how = "greedy" if greedy else f"T={settings.temperature} top-p {settings.top_p}"
    return f"{how}, {settings.max_new_tokens} tokens"


def make_evaluation(
    settings: BenchmarkConfig, judge: str, access: Access, seed: int, start: str, fetch: bool
) -> Evaluation:
    """Load the benchmark, from the network where that is needed and `fetch` allows, and make the
    judge."""
    return Evaluation(
        benchmark=load_benchmark(settings, fetch),
        settings=settings,
        judge=as_pair_judge(registry.make_judge(judge, access)),
        judge_revision=registry.judge_revision(judge),
        seed=seed,
        decoding=decoding_text(settings),
        start=start,
    )


def load_benchmark(settings: BenchmarkConfig, fetch: bool) -> Benchmark:
    """The evaluation prompts; the name carries what identifies them. What is not here and not to
    be fetched is stood in for, where its size is known."""
    is_alpaca = settings.name == alpaca_eval.NAME
    folder = settings.alpaca_dir
    if folder and not is_alpaca:
        raise HarnessError(
            f"--alpaca-dir goes with --benchmark {alpaca_eval.NAME}, and the benchmark is "
            f"'{settings.name}'; drop one of the two."
        )
    assumed = ""
    try:
        if is_alpaca:
            prompts = alpaca_eval.load_prompts(Path(folder) if folder else None, fetch)
        else:
            prompts = load_prompts(settings.name, "eval", fetch=fetch)
    except NotHereError as missing:
        prompts, assumed = missing.assume()
    wanted = settings.prompts or len(prompts)
    if wanted > len(prompts):
        raise HarnessError(
            f"benchmark.prompts is {wanted}, but {settings.name} has {len(prompts)}; ask for fewer."
        )
    if is_alpaca:
        chosen = tuple(alpaca_eval.subset(prompts, wanted))
        return Benchmark(
            alpaca_eval.VERSION, chosen, alpaca_eval.BASELINE, is_alpaca, assumed=assumed
        )
    chosen = tuple(prompts[:wanted])
    file = f"{Path(settings.name).name}@{digest(chosen)[:8]}"
    return Benchmark(MINI_VERSION if settings.name == "mini" else file, chosen, assumed=assumed)
