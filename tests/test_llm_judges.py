"""Judges that ask a model: what they send, and what they make of it."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from judge_server import Body, JudgeServer, Sent, said, steady
from judging import group, match, pair_judge, reply, score_judge

from harness import registry
from harness.access import Access
from harness.client.replies import FailureError
from harness.config import JudgingConfig
from harness.errors import HarnessError
from harness.judges.both_orders import BothOrders
from harness.judges.llm import alpaca_eval
from harness.scoring.winrate import order_bias
from harness.types import Match, Verdict

pytestmark = pytest.mark.usefixtures("own_home")
SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "alpaca_eval"


# --- names ------------------------------------------------------------------------------------


def test_names_and_identities(server: JudgeServer, access: Access) -> None:
    for spec, identity in {
        "alpaca-eval:gpt-4o-2024-08-06": "alpaca-eval-1(gpt-4o-2024-08-06)",
        "listwise:m@http://h:1/v1": "listwise-1(m@h:1)",
        "additive:m": "additive-1(m, 3 votes)",
        "pairwise:m": "both-orders-1(pairwise-1(m, 3 votes))",
    }.items():
        assert registry.make_judge(spec, access).identity == identity
        assert registry.judge_revision(spec) == ""
    with pytest.raises(HarnessError, match="'listwise' asks a model; write it as listwise:MODEL"):
        registry.make_judge("listwise")
    with pytest.raises(HarnessError, match="'longer' asks no model"):
        registry.make_judge("longer:gpt-4o")
    with pytest.raises(HarnessError, match="did you mean 'listwise'"):
        registry.make_judge("listwize:gpt-4o")
    both = Access.by(JudgingConfig(both_orders=True, votes=1))
    found = {n: registry.make_judge(n, both) for n in ("longer", "pairwise:m", "listwise:m")}
    assert [judge.identity for judge in found.values()] == [
        "both-orders-1(longer-1)",
        "both-orders-1(pairwise-1(m, 1 votes))",
        "listwise-1(m)",
    ]
    budget = Access.by(JudgingConfig(budget_usd=1))
    with pytest.raises(HarnessError, match="No price is known for my-model"):
        registry.make_judge("pairwise:my-model", budget)


# --- AlpacaEval's own -------------------------------------------------------------------------


def upstream_prompt(instruction: str, output_1: str, output_2: str) -> list[tuple[str, str]]:
    """AlpacaEval's way: replace in turn, then cut the text into turns."""
    spec = importlib.util.find_spec("alpaca_eval")
    assert spec
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "evaluators_configs"
    text = (folder / "alpaca_eval_clf_gpt4_turbo" / "alpaca_eval_clf.txt").read_text("utf-8")
    for name, value in (("instruction", instruction), ("output_1", output_1)):
        text = text.replace("{" + name + "}", value, 1)
    text = text.replace("{output_2}", output_2, 1)
    parts = [part.split("\n", 1) for part in text.strip().split("<|im_start|>")[1:]]
    return [(role.strip(), said.split("<|im_end|>")[0].strip()) for role, said in parts]


@pytest.mark.parametrize("text", ["Why is the sky blue?", "Name four rivers."])
def test_alpaca_eval_asks_what_alpaca_eval_asks(
    server: JudgeServer, access: Access, text: str
) -> None:
    judge = pair_judge("alpaca-eval", server, access)
    a, b = "It scatters {light}.\n\nMuch of it, and that is why it looks so.", 'Because "so".'
    there, back = judge.compare([match(a, b, text, "m1"), match(b, a, text, "m2")])
    swapped = alpaca_eval.is_swapped(text)
    assert swapped == (text == "Why is the sky blue?")
    sent = [body for body in server.asked if a in body["messages"][1]["content"]]
    shown = {tuple((m["role"], m["content"]) for m in body["messages"]) for body in sent}
    assert shown == {
        tuple(upstream_prompt(text, *pair)) for pair in ((a, b), (b, a))
    }  # the opponent's output is the first, or in the other order
    settings = {"max_tokens": 1, "temperature": 1, "logprobs": True, "top_logprobs": 5}
    for body in sent:
        assert {k: v for k, v in body.items() if k != "messages"} == {"model": "fake", **settings}
    d = math.tanh((len(a) - len(b)) / 200)  # steady's: the first share is σ(2d)
    expected = 1 / (1 + math.exp(-2 * d))
    assert there.p == pytest.approx(expected)
    assert back.p == pytest.approx(1 - expected)
    assert there.order == ("ab" if swapped else "ba")
    assert there.usage.prompt_tokens == 1000


def test_alpaca_eval_s_equal_outputs_cost_nothing(server: JudgeServer, access: Access) -> None:
    judge = pair_judge("alpaca-eval", server, access)
    found = list(judge.compare([match("x", "x", name="m1"), match("x", "y", name="m2")]))
    assert [v.match_id for v in found] == ["m1", "m2"]
    assert found[0].p == 0.5
    assert len(server.asked) == 1
    list(pair_judge("alpaca-eval", server, access).compare([match("x", "y", name="m2")]))
    assert len(server.asked) == 1


def test_the_share_of_the_first_token() -> None:
    share = alpaca_eval.first_share
    assert share(reply("", top={"m": -0.1, "M": -0.1, "x": 0})) == 0.5
    assert share(reply("", top={"m": -3.0})) == 1.0
    assert share(reply("", top={"M": -900.0, "a": -0.1})) == 0.0
    assert share(reply("", top={"m": -1000.0, "M": -1001.0})) == pytest.approx(1 / (1 + math.e**-1))
    for top, reason in (
        ({"Both": -0.1}, "unparsable"),
        (None, "no log-probs"),
        ({}, "no log-probs"),
    ):
        with pytest.raises(FailureError, match=reason):
            share(reply("m", top=top))


def test_the_archive_s_judgements_come_out_again() -> None:
    """Every stored log-prob and order of gpt-4-1106-preview gives the stored preference."""
    if not SHARED.exists():
        pytest.skip("no archive beside the checkout (../shared/alpaca_eval)")
    import pyarrow.parquet as parquet

    texts = parquet.read_table(SHARED / "instructions.parquet", columns=["idx", "instruction"])
    swapped = {row["idx"]: alpaca_eval.is_swapped(row["instruction"]) for row in texts.to_pylist()}
    names = ["idx", "preference", "is_swapped", "logprob_m", "logprob_M"]
    checked = 0
    for row in parquet.read_table(SHARED / "annotations.parquet", columns=names).to_pylist():
        assert row["is_swapped"] in (None, swapped[row["idx"]])
        found = {"m": row["logprob_m"], "M": row["logprob_M"]}
        top = {k: v for k, v in found.items() if v is not None and math.isfinite(v)}
        if top and row["preference"] and row["preference"] > 0:
            share = alpaca_eval.first_share(reply("m", top=top))
            p = share if swapped[row["idx"]] else 1 - share
            assert p == pytest.approx(row["preference"] - 1, abs=2e-4)
            checked += 1
    print(f"{checked} judgements checked")
    assert checked > 1000


# --- both orders ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Biased:
    """Likes the longer answer, and what it sees first; one in which order, `shown`, it says."""

    bias: float
    shown: str = "ab"
    identity = "biased-1"
    reference_based = False

    def compare(self, matches: Sequence[Match]) -> Iterator[Verdict]:
        for m in matches:
            if "fail" in m.a.text:
                yield Verdict(m.id, None, self.identity, "timeout")
                continue
            push = self.bias if self.shown == "ab" else -self.bias
            p = 1 / (1 + math.exp(-(len(m.a.text) - len(m.b.text) + push)))
            yield Verdict(m.id, p, self.identity, order=self.shown)  # type: ignore[arg-type]


@pytest.mark.parametrize("shown", ["ab", "ba"])
def test_both_orders_cancel_position_and_measure_it(shown: str) -> None:
    matches = [match("x" * n, "yyy", name=str(n)) for n in range(7)]
    fair = list(BothOrders(Biased(0)).compare(matches))
    found = list(BothOrders(Biased(2.5, shown)).compare(matches))
    assert [v.match_id for v in found] == [m.id for m in matches]
    assert found[3].p == pytest.approx(0.5)
    assert [v.p > 0.5 for v in found if v.p] == [v.p > 0.5 for v in fair if v.p]
    bias = order_bias(found)
    assert bias
    # decided are those of length 0 and 6; for the five between, the first wins in either order
    assert (bias.n, bias.consistency, bias.first_slot_rate) == (7, 2 / 7, pytest.approx(6 / 7))
    fair_bias = order_bias(fair)
    assert fair_bias
    assert (fair_bias.consistency, fair_bias.first_slot_rate) == (1, 0.5)
    assert order_bias([Verdict("m", 0.5, "j")]) is None
    (failed,) = BothOrders(Biased(0)).compare([match("y", "fail")])
    assert (failed.p, failed.error, failed.by_order) == (None, "timeout", None)


def test_a_paid_order_survives_the_other_s_failure(server: JudgeServer, access: Access) -> None:
    judge = pair_judge("pairwise", server, access)

    def half(body: Body, number: int) -> Sent:
        text = body["messages"][-1]["content"]
        return steady(body, number) if text.index("long") < text.index("brief") else said("Hm.")

    server.answer = half
    compared = [match("long long long", "brief")]
    (failed,) = judge.compare(compared)
    assert (failed.p, failed.error) == (None, "unparsable")
    assert failed.usage.completion_tokens == 60  # six calls, whatever came of them
    server.answer = steady
    (verdict,) = judge.compare(compared)
    assert (verdict.p, verdict.by_order, verdict.order) == (1.0, (1.0, 1.0), "both")
    assert verdict.usage.completion_tokens == 30
    assert len(server.asked) == 9
    assert {body["seed"] for body in server.asked} == {0, 1, 2}


def test_votes_make_a_soft_preference(server: JudgeServer) -> None:
    access = Access.by(JudgingConfig(votes=4))
    judge = pair_judge("pairwise", server, access)
    first = re.compile(r"Better: (\w+) or (\w+)$")

    def torn(body: Body, number: int) -> Sent:
        """For the answer shown first in three of four votes, in the last for neither order's."""
        one, other = first.findall(body["messages"][0]["content"])[0]
        return said(f"**Better: {one if body['seed'] else other}**")

    server.answer = torn
    (verdict,) = judge.compare([match("x", "y")])
    access.client.close()
    assert verdict.by_order == (0.75, 0.25)
    assert verdict.p == 0.5


# --- votes and shuffles ------------------------------------------------------------------------


def test_additive_averages_its_votes_and_one_that_fails_fails_them(
    server: JudgeServer, access: Access
) -> None:
    server.answer = lambda body, _n: said(f"Score: {(1, 2, 5)[body['seed']]}")
    judge = score_judge("additive", server, access)
    assert judge.scale == (0, 5)
    ((one, two),) = judge.score([group("a", "b")])
    assert one.value == two.value == pytest.approx(8 / 3)
    assert one.usage.completion_tokens == 30
    server.answer = lambda body, _n: said("Score: 9" if body["seed"] == 1 else "Score: 3")
    ((failed,),) = judge.score([group("c")])
    assert (failed.value, failed.error) == (None, "out of range")
    server.answer = lambda _body, _n: said("Score: 0")
    ((known,),) = judge.score([group("c")])
    assert known.value == 2  # the two good votes of before, and one new one
    assert len(server.asked) == 6 + 3 + 1


def test_listwise_shuffles_by_the_prompt_and_scores_in_the_pool_s_order(
    server: JudgeServer, access: Access
) -> None:
    judge = score_judge("listwise", server, access)
    assert judge.scale == (0, 6)
    texts = [f"{'x' * 20 * n}!" for n in range(6)]
    groups = [group(*texts, name=f"p{n}") for n in range(8)]
    for scores in judge.score(groups):
        assert [score.value for score in scores] == [0, 1, 2, 3, 4, 5]
    contents = [body["messages"][0]["content"] for body in server.asked]
    orders = {tuple(map(len, re.findall(r"<answer \w+>\n(.*)\n", text))) for text in contents}
    assert len(orders) > 4
    assert len(set(re.findall(r"<answer (\w+)>", "".join(contents)))) == 48
    # the same question is the same to the letter, so that the cache knows it
    list(judge.score(groups))
    assert len(server.asked) == 8
