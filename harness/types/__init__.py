"""The frozen dataclasses and protocols that cross rooms.

Nothing here imports another room or a heavy package: whoever writes a method, a judge or a
benchmark needs this module (and torch, for a method's loss) and nothing else.
"""

from harness.types.examples import (
    Batch,
    Demo,
    Example,
    Labelled,
    LogProbs,
    Loss,
    Pair,
)
from harness.types.judging import (
    Group,
    Match,
    PairJudge,
    Score,
    ScoreJudge,
    Usage,
    Verdict,
)
from harness.types.methods import (
    Hyper,
    Improves,
    Method,
    Plan,
    PolicyRef,
)
from harness.types.prompts import (
    Completion,
    FinishReason,
    Message,
    Prompt,
    Sampler,
    SampleSpec,
    Source,
)
from harness.types.scores import (
    Control,
    ControlName,
    Controls,
    Difference,
    Judgement,
    LengthControl,
    LengthControlKind,
    Lengths,
    OrderBias,
    Overlap,
    Result,
    WinRate,
)

__all__ = [
    "Batch",
    "Completion",
    "Control",
    "ControlName",
    "Controls",
    "Demo",
    "Difference",
    "Example",
    "FinishReason",
    "Group",
    "Hyper",
    "Improves",
    "Judgement",
    "Labelled",
    "LengthControl",
    "LengthControlKind",
    "Lengths",
    "LogProbs",
    "Loss",
    "Match",
    "Message",
    "Method",
    "OrderBias",
    "Overlap",
    "Pair",
    "PairJudge",
    "Plan",
    "PolicyRef",
    "Prompt",
    "Result",
    "SampleSpec",
    "Sampler",
    "Score",
    "ScoreJudge",
    "Source",
    "Usage",
    "Verdict",
    "WinRate",
]
