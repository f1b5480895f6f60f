"""Losses: pure functions on plain tensors, one loss an example.

For a prompt x with chosen answer y_w and rejected answer y_l, each log-prob being a sum over the
completion's tokens:

    a = log π(y_w|x) − log ref(y_w|x)      b = the same for y_l      d = a − b
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from harness.types import LogProbs, Loss


class Losses(NamedTuple):
    """`values` [n] is the loss of each example, unweighted and with its gradient; `diagnostics`
    are detached [n] tensors."""

    values: Tensor
    diagnostics: Mapping[str, Tensor]


def mean(losses: Losses, weights: Tensor) -> Loss:
    """The mean of weight·loss over a batch's examples; `weights` [n].

    Divided by n and not by the sum of weights: so the mean of eight micro-batches of one example
    is the mean of one batch of eight, whatever the weights.
    """
    return Loss((weights * losses.values).mean(), losses.diagnostics)


def dpo(policy: LogProbs, reference: LogProbs, beta: float) -> Losses:
    """Direct preference optimisation: −log σ(β·d), arXiv 2305.18290, Eq. 7.

    `policy` and `reference` have 2n rows, the chosen half first; returns n losses. At π = ref each
    is ln 2.
    """
    ratios = log_ratios(policy, reference)
    return Losses(-F.logsigmoid(beta * ratios.difference), pair_diagnostics(policy, ratios, beta))


def sft(policy: LogProbs) -> Losses:
    """Supervised fine-tuning: −(Σ_t log π(y_t|x, y_<t)) / |y|; `policy` has n rows.

    The mean is taken over each answer's own tokens and then over answers. The usual code takes one
    mean over all tokens of a batch, where long answers weigh more and the loss of a micro-batch
    depends on what else is in it.
    """
    # An empty completion has no token to learn from: its sum is 0, and so is its loss.
    values = -policy.sums / policy.lengths.clamp(min=1)
    return Losses(values, {"logps": policy.sums.detach(), "token_logps": -values.detach()})


class LogRatios(NamedTuple):
    """Log-ratios of policy to reference, both [n]."""

    chosen: Tensor  # a
    rejected: Tensor  # b

    @property
    def difference(self) -> Tensor:
        """[n] d = a − b."""
        return self.chosen - self.rejected


def log_ratios(policy: LogProbs, reference: LogProbs) -> LogRatios:
    """a and b of a pair batch, 2n rows → [n] each."""
    return LogRatios(policy.chosen - reference.chosen, policy.rejected - reference.rejected)


def pair_diagnostics(policy: LogProbs, ratios: LogRatios, beta: float) -> dict[str, Tensor]:
    """What every pair method logs, detached [n] each.

    `margin` is β·d, the implicit reward margin; `accuracy` is 1 where d > 0; `chosen_falls` is 1
    where a < 0: the chosen answer is less likely than it was, although the loss may fall.
    """
    a, b = ratios.chosen.detach(), ratios.rejected.detach()
    return {
        "logps_chosen": policy.chosen.detach(),
        "logps_rejected": policy.rejected.detach(),
        "logratio_chosen": a,
        "logratio_rejected": b,
        "margin": beta * (a - b),
        "accuracy": (a > b).to(a.dtype),
        "chosen_falls": (a < 0).to(a.dtype),
    }
