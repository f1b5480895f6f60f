"""Losses: pure functions on plain tensors, one loss an example.

For a prompt x with chosen answer y_w and rejected answer y_l, each log-prob being a sum over the
completion's tokens:

    a = log π(y_w|x) − log ref(y_w|x)      b = the same for y_l      d = a − b

Where papers disagree with their own code, the paper's choice is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
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


# --- of pairs: 2n rows, the chosen half first, n losses ----------------------------------------


def dpo(policy: LogProbs, reference: LogProbs, beta: float) -> Losses:
    """Direct preference optimisation: −log σ(β·d), arXiv 2305.18290, Eq. 7.

    At π = ref each loss is ln 2.
    """
    ratios = log_ratios(policy, reference)
    return Losses(-F.logsigmoid(beta * ratios.difference), pair_diagnostics(policy, ratios, beta))


def r_dpo(policy: LogProbs, reference: LogProbs, beta: float, alpha: float) -> Losses:
    """Length-regularised DPO: −log σ(β·d + α·(|w| − |l|)), the regularised objective
    of arXiv 2403.19159 (numbering of the equation not confirmed).

    The plus sign penalises length: a chosen answer that is longer (in tokens) leads already, and
    little is left to learn from it.
    """
    ratios = log_ratios(policy, reference)
    chosen, rejected = policy.lengths.to(policy.sums.dtype).chunk(2)
    values = -F.logsigmoid(beta * ratios.difference + alpha * (chosen - rejected))
    return Losses(values, pair_diagnostics(policy, ratios, beta))


def dno(policy: LogProbs, reference: LogProbs, rewards: Tensor, eta: float) -> Losses:
    """Direct Nash optimisation: −[σ(r₁−r₂)·log σ(η·d) + σ(r₂−r₁)·log σ(−η·d)],
    arXiv 2404.03715, Eq. 8.

    `rewards` [2n] are r₁ of the n first answers, then r₂ of the n second ones. Swapping the two
    answers changes nothing. η multiplies the log-ratio here, as β does in DPO.
    """
    ratios = log_ratios(policy, reference)
    first, second = rewards.chunk(2)
    target, logits = (first - second).sigmoid(), eta * ratios.difference
    values = -(target * F.logsigmoid(logits) + (1 - target) * F.logsigmoid(-logits))
    return Losses(values, pair_diagnostics(policy, ratios, eta))


def ipo(policy: LogProbs, reference: LogProbs, tau: float, averaged: bool) -> Losses:
    """Identity preference optimisation: (d − 1/(2τ))², arXiv 2310.12036, Eq. 17.

    In the paper log-probs are sums over tokens; `averaged` divides a and b by their answers'
    lengths, as the authors later advised and most code does.
    """
    ratios = log_ratios(policy, reference)
    compared = ratios
    if averaged:
        chosen, rejected = _token_counts(policy).chunk(2)
        compared = LogRatios(ratios.chosen / chosen, ratios.rejected / rejected)
    values = (compared.difference - 1 / (2 * tau)) ** 2
    return Losses(values, pair_diagnostics(policy, ratios, tau))


def inpo(
    policy: LogProbs, previous: LogProbs, initial: LogProbs, eta: float, tau_over_eta: float
) -> Losses:
    """Iterative Nash policy optimisation, the loss of arXiv 2407.00617, Algorithm 1 (numbering of
    the equation not confirmed):

        (log π_w/π_l − (τ/η)·log ref_w/ref_l − ((η−τ)/η)·log π_t,w/π_t,l − 1/(2η))²

    That is IPO against a geometric mixture of π_t and the initial model.
    """
    return ipo(policy, mixture(previous, initial, tau_over_eta), eta, averaged=False)


def sppo(policy: LogProbs, reference: LogProbs, win_rates: Tensor, eta: float) -> Losses:
    """Self-play preference optimisation: (a − η(P_w − ½))² + (b − η(P_l − ½))², arXiv 2405.00675,
    Eq. 4.7 (in Algorithm 1), for both answers.

    `win_rates` [2n] are P_w of the n chosen answers, then P_l of the n rejected ones, against the
    policy that they were sampled from. η is what 1/β is in DPO.
    """
    ratios = log_ratios(policy, reference)
    chosen, rejected = (eta * (win_rates - 0.5)).chunk(2)
    values = (ratios.chosen - chosen) ** 2 + (ratios.rejected - rejected) ** 2
    return Losses(values, pair_diagnostics(policy, ratios, 1 / eta))


def simpo(policy: LogProbs, beta: float, gamma: float) -> Losses:
    """Simple preference optimisation: −log σ(β·(log π_w/|w| − log π_l/|l|) − γ),
    arXiv 2405.14734, Eq. 6. There is no reference; `margin` is β times the bracket.
    """
    averages = policy.sums / _token_counts(policy)
    chosen, rejected = averages.chunk(2)
    margin = beta * (chosen - rejected)
    diagnostics = {
        "logps_chosen": policy.chosen.detach(),
        "logps_rejected": policy.rejected.detach(),
        "margin": margin.detach(),
        "accuracy": (margin > 0).to(margin.dtype),
    }
    return Losses(-F.logsigmoid(margin - gamma), diagnostics)


# --- of single answers: n rows, n losses -------------------------------------------------------


def kto(
    policy: LogProbs,
    reference: LogProbs,
    desirable: Tensor,
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
) -> Losses:
    """Kahneman–Tversky optimisation, arXiv 2402.01306, Eq. 8, with r = log π(y|x) − log ref(y|x):

        w_d·(1 − σ(β(r − z))) for a desirable answer, w_u·(1 − σ(β(z − r))) for another

    z = max(0, mean log-ratio of answers to other prompts): an estimate of KL(π ‖ ref) from
    `mismatched`, which has no gradient; 0 where there was no other prompt. `desirable` [n].
    """
    ratio = policy.sums - reference.sums
    z = _mismatched_kl(policy, reference)
    gain = torch.where(desirable, ratio - z, z - ratio)
    weight = torch.where(desirable, desirable_weight, undesirable_weight).to(ratio.dtype)
    values = weight * (-beta * gain).sigmoid()  # 1 − σ(x) = σ(−x)
    diagnostics = {
        "logps": policy.sums.detach(),
        "logratio": ratio.detach(),
        "kl": z.expand_as(ratio),
        "accuracy": (gain.detach() > 0).to(ratio.dtype),
    }
    return Losses(values, diagnostics)


def sft(policy: LogProbs) -> Losses:
    """Supervised fine-tuning: −(Σ_t log π(y_t|x, y_<t)) / |y|.

    The mean is taken over each answer's own tokens and then over answers. The usual code takes one
    mean over all tokens of a batch, where long answers weigh more and the loss of a micro-batch
    depends on what else is in it.
    """
    values = -policy.sums / _token_counts(policy)
    return Losses(values, {"logps": policy.sums.detach(), "token_logps": -values.detach()})


# --- parts -------------------------------------------------------------------------------------


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


def mixture(previous: LogProbs, initial: LogProbs, share: float) -> LogProbs:
    """(1 − share)·log π_t + share·log π_ref: the geometric mixture, arXiv 2404.03715, Appendix A.

    Its normaliser depends on the prompt alone and cancels in every difference of two answers.
    """
    sums = (1 - share) * previous.sums + share * initial.sums
    return LogProbs(sums, previous.lengths)


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


def _mismatched_kl(policy: LogProbs, reference: LogProbs) -> Tensor:
    """z: a scalar without gradient."""
    if policy.mismatched is None or reference.mismatched is None:
        return policy.sums.new_zeros(())
    ratio = (policy.mismatched - reference.mismatched).detach()
    ratio = ratio[ratio.isfinite()]  # an answer that is impossible there tells nothing
    return (ratio.sum() / max(1, ratio.numel())).clamp(min=0)


def _token_counts(policy: LogProbs) -> Tensor:
    """Lengths to divide by. An empty completion has no token to learn from: its sum is 0, and so
    is its mean."""
    return policy.lengths.clamp(min=1)
