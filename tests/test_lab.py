"""The lab: exact updates to the printed digits, and where methods go on their own losses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import HarnessError
from harness.lab.exact import bradley_terry_rewards
from harness.lab.games import Game, make_game, read_game, uniform
from harness.lab.play import Reference, Setup, play_exact, play_method, play_reward
from harness.lab.settings import configured
from harness.records import GameRun
from harness.registry import settings_of

START = np.array([0.8, 0.1, 0.1])
DOMINATED = np.array(
    [[0.5, 0.9, 0.1, 0.8], [0.1, 0.5, 0.9, 0.8], [0.9, 0.1, 0.5, 0.8], [0.2, 0.2, 0.2, 0.5]]
)
"""Rock, paper, scissors and an action that each of them beats."""


def rps(
    iterations: int, *, tau: float | None = None, pool: int = 64, reference: Reference = "uniform"
) -> Setup:
    return Setup(make_game("rps", 0), START, 1.0, tau, iterations, reference, pool, 0)


def silent(_: int) -> None:
    """Nobody watches."""


def distances(a: GameRun, b: GameRun) -> list[float]:
    """Total variation between two runs' policies, by iteration."""
    return [
        0.5 * float(np.abs(np.subtract(x.policy, y.policy)).sum())
        for x, y in zip(a.iterations, b.iterations, strict=True)
    ]


# --- exact ------------------------------------------------------------------------------------


def test_the_exact_update_circles_outward_and_converges_on_average() -> None:
    rows = play_exact(rps(4000), silent, 0.0).iterations
    printed = {1: (0.56, 0.56), 6: (0.534, 0.450), 100: (0.0247, 0.752), 4000: (0.0066, 0.800)}
    for t, (average, last) in printed.items():
        assert rows[t - 1].gap_average == pytest.approx(average, abs=5e-4 if t == 6 else 5e-5)
        assert rows[t - 1].gap_last == pytest.approx(last, abs=5e-4)
    assert rows[0].win_rate_vs_previous is rows[0].improvement_bound is None
    assert rows[1].win_rate_vs_previous == pytest.approx(0.5158, abs=5e-5)
    assert rows[1].improvement_bound == pytest.approx(0.5079, abs=5e-5)
    for row in rows[1:]:  # it beats its predecessor by the bound, however far out it circles
        assert (row.win_rate_vs_previous or 0) >= (row.improvement_bound or 1) - 1e-12


def test_the_regularised_update_converges_in_its_last_iterate() -> None:
    by_uniform = play_exact(rps(100), silent, 0.1).iterations
    assert [round(by_uniform[t - 1].gap_last, 3) for t in (1, 6)] == [0.56, 0.296]
    assert round(by_uniform[99].gap_last, 4) == 0.0003
    by_start = play_exact(rps(1000, reference="start"), silent, 0.1).iterations
    assert round(by_start[-1].gap_last, 4) == 0.2063


def test_an_equally_weighted_reward_explains_its_own_game_and_no_cycle() -> None:
    for row in play_reward(rps(30), silent).iterations:
        assert row.policy == pytest.approx(START, abs=1e-12)
    assert bradley_terry_rewards(make_game("bradley-terry:5", 0)) == pytest.approx(
        np.linspace(1, -1, 5)
    )


# --- on a method's own loss -------------------------------------------------------------------


def test_regression_follows_the_exact_update_as_far_as_its_pools_let_it() -> None:
    exact = play_exact(rps(11), silent, 0.0)
    near = distances(play_method(rps(11), silent, "dno-regression"), exact)
    far = distances(play_method(rps(11, pool=5), silent, "dno-regression"), exact)
    assert max(near) == pytest.approx(0.010, abs=0.002)  # so within 0.02 over ten updates
    assert max(far) == pytest.approx(0.14, abs=0.01)


def test_the_regularised_method_s_last_iterate_converges() -> None:
    run = play_method(rps(12, tau=0.5, pool=16), silent, "dno-regularised")
    assert run.tau == 0.5
    assert [row.gap_last < 0.01 for row in run.iterations][-3:] == [True] * 3


@pytest.mark.parametrize(
    "name",
    [
        "sppo",
        "iterative-dpo",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("dno", "dno-regression", "dno-regularised", "inpo")
        ),
    ],
)
def test_a_dominated_action_is_left(name: str) -> None:
    game = Game("dominated", DOMINATED)
    setup = Setup(game, uniform(4), 1.0, 0.1, 51, "uniform", 8, 0)
    assert play_method(setup, silent, name).iterations[-1].policy[3] < 0.05


def test_eta_multiplies_log_ratios_whatever_a_method_calls_it() -> None:
    found = {
        name: settings_of(configured(name, 0.5, 0.1, 7, {}))
        for name in ("dno", "dno-regression", "sppo", "ipo", "inpo", "spin", "sft")
    }
    assert found["dno"]["beta"] == found["dno-regression"]["eta"] == found["ipo"]["tau"] == 0.5
    assert found["sppo"]["eta"] == 2.0  # there η divides
    assert found["inpo"]["tau_over_eta"] == pytest.approx(0.2)
    assert found["dno"]["samples"] == 7
    assert "samples" not in found["spin"]  # one by design
    assert found["sft"] == {}


# --- games and the command --------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["rps", "bradley-terry:4", "random:6", "annotators:5"])
def test_a_game_by_name_is_what_a_file_must_be(spec: str, tmp_path: Path) -> None:
    game = make_game(spec, 3)
    path = tmp_path / "game.json"
    path.write_text(json.dumps(game.payoff.tolist()), "utf-8")
    assert (read_game(path).payoff == game.payoff).all()
    assert (make_game(spec, 3).payoff == game.payoff).all()


def test_annotators_who_each_are_certain_prefer_in_a_circle() -> None:
    third = 1 / 3
    assert make_game("annotators", 0).payoff == pytest.approx(
        np.array([[0.5, 2 * third, third], [third, 0.5, 2 * third], [2 * third, third, 0.5]])
    )


@pytest.mark.parametrize(
    ("payoff", "says"),
    [
        ([[0.5, 0.9], [0.1]], "square"),
        ([[0.5, "0.9"], [0.1, 0.5]], "square"),
        ({"payoff": 1}, "square"),
        ([[0.5, 1.2], [-0.2, 0.5]], "from 0 to 1"),
        ([[0.6, 0.9], [0.1, 0.4]], "diagonal"),
        ([[0.5, 0.9], [0.2, 0.5]], "row 1 column 2 has 0.9 and row 2 column 1 has 0.2"),
    ],
)
def test_a_payoff_that_is_no_game_is_refused(payoff: object, says: str, tmp_path: Path) -> None:
    path = tmp_path / "game.json"
    path.write_text(json.dumps(payoff), "utf-8")
    with pytest.raises(HarnessError, match=says):
        read_game(path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--game rpss", "did you mean 'rps'"),
        ("--game random:1", "from 2 to 100"),
        ("--game rps:4", "are three"),
        ("--game rps --payoff x.json", "choose one"),
        ("--start 0.8,0.2", "3 probabilities"),
        ("--start 1,0,0", "above 0"),
        ("--eta 0", "above 0"),
        ("--tau 2", "from 0 to"),
        ("--method dmo --pool 8", "did you mean 'dno'"),
        ("--method self-rewarding --iters 2", "judge itself"),
        ("--method dno --set method.gaet=1", "The method 'dno' has no setting 'gaet': did you"),
        ("--set method.gaet=1", "No method has setting 'gaet': did you mean"),
        ("--method dno --set method.beta=2", "that is what --eta sets"),
        ("--method dno --set train.epochs=2", "the lab has no such setting"),
        ("--method dno --set method.gold=maybe", "Setting 'method.gold'"),
        ("--method dno --exact --set method.gold=false", "--exact plays none"),
    ],
)
def test_a_mistake_is_a_sentence(line: str, says: str) -> None:
    done = CliRunner().invoke(app, ["lab", *line.split()])
    assert isinstance(done.exception, HarnessError)
    assert says in str(done.exception)


def test_the_command_answers_in_json() -> None:
    line = "lab --method dno-regularised --start 0.8,0.1,0.1 --iters 6 --exact --json"
    answer = json.loads(CliRunner().invoke(app, line.split()).stdout)
    assert answer["tau"] == pytest.approx(0.1)  # the method's own τ/η
    assert set(answer["iterations"][-1]) == {
        *("iteration", "gap_last", "gap_average", "win_rate_vs_previous", "kl_to_previous"),
        *("improvement_bound", "policy"),
    }
    assert round(answer["iterations"][-1]["gap_last"], 3) == 0.296


def test_a_method_s_settings_are_set_as_for_a_run() -> None:
    line = "lab --method dno --iters 3 --pool 8 --json --set method.gold=false"
    loose = f"{line} --set method.student_win_rate=0 --set method.student_win_margin=0"
    strict = f"{line} --set method.student_win_rate=1.1"
    loose, strict = (CliRunner().invoke(app, given.split()).stdout for given in (loose, strict))
    third = pytest.approx([1 / 3] * 3)
    assert json.loads(strict)["iterations"][-1]["policy"] == third  # no pair passes: it stays
    assert json.loads(loose)["iterations"][-1]["policy"] != third
    assert json.loads(strict)["player"] == "dno (gold=False, student_win_rate=1.1)"


def test_all_methods_are_in_one_figure(tmp_path: Path) -> None:
    line = f"lab --iters 2 --pool 8 --start 0.8,0.1,0.1 --out {tmp_path} --json"
    answer = json.loads(CliRunner().invoke(app, line.split()).stdout)
    players = [run["player"] for run in answer["runs"]]
    assert players[:3] == ["exact", "exact, regularised", "Bradley–Terry fit"]
    assert {"dno", "inpo", "kto", "simpo", "spin", "sft"} < set(players)
    assert answer["left_out"] == {"self-rewarding": "the policy judges itself"}
    assert {Path(answer[kind]).name for kind in ("png", "svg")} == {
        "lab-duality-gap.png",
        "lab-duality-gap.svg",
    }
    assert all((tmp_path / f"lab-duality-gap.{kind}").stat().st_size > 0 for kind in ("png", "svg"))
