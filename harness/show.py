"""Plans, methods and models as tables for the terminal and as dictionaries for --json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from harness import registry
from harness.codec import dump
from harness.errors import HarnessError
from harness.experiment import Experiment
from harness.plan import PlannedStage, total_usd
from harness.text import printable

if TYPE_CHECKING:
    from harness.doctor import Finding
    from harness.models.store import ModelInfo

ITERATIONS = 3
"""Plans of iterations 1..3 are listed: no built-in method changes later than that."""


def plan_dict(experiment: Experiment, stages: Sequence[PlannedStage]) -> dict[str, Any]:
    """The plan for a program."""
    todo = [stage for stage in stages if not stage.done]
    return {
        "config": experiment.config.model_dump(mode="json"),
        "train_judge": experiment.train_judge.identity,
        "eval_judge": experiment.evaluation.judge.identity,
        "opponent": experiment.evaluation.opponent,
        "assumptions": list(experiment.assumptions),
        "stages": [asdict(stage) for stage in stages],
        "to_do": {
            "stages": len(todo),
            "completions": sum(stage.completions for stage in todo),
            "judgements": sum(stage.judgements for stage in todo),
            "calls": sum(stage.calls for stage in todo),
            "judge_tokens_at_most": sum(stage.tokens for stage in todo),
            "usd_at_most": total_usd(todo),
            "training_steps_at_most": _total_steps(todo),
        },
    }


def plan_tables(experiment: Experiment, stages: Sequence[PlannedStage]) -> list[Table]:
    config, evaluation = experiment.config, experiment.evaluation
    table = Table(
        title=Text(
            f"{experiment.method.name} on {config.model}: {config.iterations} iterations, judged "
            f"by {experiment.train_judge.identity}, scored by {evaluation.judge.identity} "
            f"on {evaluation.benchmark.name}"
        ),
        caption=Text(
            " ".join(
                [_caption([stage for stage in stages if not stage.done]), *experiment.assumptions]
            )
        ),
    )
    for name in ("iteration", "stage", "state"):
        table.add_column(name)
    for name in ("completions", "judgements", "steps at most"):
        table.add_column(name, justify="right")
    for stage in stages:
        table.add_row(
            str(stage.iteration),
            stage.stage,
            "reused" if stage.done else "to do",
            str(stage.completions or ""),
            str(stage.judgements or ""),
            "unbounded" if stage.steps is None else str(stage.steps or ""),
        )
    return [table]


def _caption(todo: Sequence[PlannedStage]) -> str:
    if not todo:
        return "Everything is there: a run would do nothing."
    steps = _total_steps(todo)
    return (
        f"To do: {len(todo)} stages, {sum(s.completions for s in todo)} completions, "
        f"{sum(s.judgements for s in todo)} judgements, "
        + ("training steps unbounded." if steps is None else f"at most {steps} training steps.")
        + _cost_text(todo)
    )


def _cost_text(todo: Sequence[PlannedStage]) -> str:
    """What judges that ask a model will cost."""
    calls, usd = sum(stage.calls for stage in todo), total_usd(todo)
    if not calls:
        return ""
    dollars = "no price is known" if usd is None else f"${usd:.2f}"
    tokens = sum(stage.tokens for stage in todo)
    return f" Judges: {calls:,} calls; at most {tokens:,} tokens, {dollars}."


def _total_steps(stages: Sequence[PlannedStage]) -> int | None:
    steps = [stage.steps for stage in stages]
    return None if None in steps else sum(step or 0 for step in steps)


def method_dicts() -> list[dict[str, Any]]:
    """Every registered method; one that does not load is listed with its error."""
    listed: list[dict[str, Any]] = []
    for name in registry.names(registry.METHODS):
        try:
            plugin = registry.find(registry.METHODS, name)
            method = registry.make_method(plugin, {})
        except HarnessError as error:
            listed.append({"name": name, "error": str(error)})
            continue
        plans = [dump(method.plan(t, ITERATIONS)) for t in range(1, ITERATIONS + 1)]
        listed.append(
            {
                "name": name,
                "paper": method.paper,
                "loaded_from": plugin.origin,
                "settings": dict(sorted(registry.settings_of(method).items())),
                "defaults": dump(method.defaults),
                "plans": {str(t): plan for t, plan in enumerate(plans, start=1)},
            }
        )
    return listed


def method_tables(listed: Sequence[Mapping[str, Any]]) -> list[Table]:
    table = Table(title="Methods (settings with --set method.NAME=VALUE)", show_lines=True)
    for name in ("method", "plan of an iteration", "settings"):
        table.add_column(name)
    for method in listed:
        if "error" in method:
            table.add_row(method["name"], Text(method["error"]), "")
            continue
        table.add_row(
            Text("\n".join((method["name"], method["paper"], method["loaded_from"]))),
            Text(plans_text(method["plans"])),
            Text("\n".join(f"{k} = {v}" for k, v in method["settings"].items())),
        )
    return [table]


def plans_text(plans: Mapping[str, Mapping[str, Any]]) -> str:
    """Equal plans once: '1: …; 2 on: …'."""
    said: list[tuple[str, str]] = []
    for t, plan in plans.items():
        text = _plan_text(plan)
        if not said or said[-1][1] != text:
            said.append((t, text))
    if len(said) == 1:
        return said[0][1]
    return "\n".join(f"from iteration {t}: {text}" for t, text in said)


def _plan_text(plan: Mapping[str, Any]) -> str:
    parts = []
    if plan["samples"]:
        samples = "1 sample" if plan["samples"] == 1 else f"{plan['samples']} samples"
        parts.append(f"{samples} of the {plan['sampler']} policy")
    if plan["gold"]:
        parts.append("gold answer")
    if plan["judge"] != "none":
        who = "the policy itself" if plan["judged_by"] == "self" else "the judge"
        verb = "scored" if plan["judge"] == "score" else "compared"
        parts.append(f"{verb} by {who}")
    parts.append(f"trained from the {plan['start']} policy")
    if plan["references"]:
        parts.append(f"against the {' and '.join(plan['references'])} one")
    if plan["replay"]:
        parts.append("replay " + ", ".join(f"{share:.0%}" for share in plan["replay"]))
    return ", ".join(parts)


def model_dicts(infos: Sequence[ModelInfo]) -> list[dict[str, Any]]:
    return [{**asdict(info), "where": str(info.where)} for info in infos]


def model_table(infos: Sequence[ModelInfo]) -> Table:
    table = Table(title="Embedded models (any local folder or hub name works in their place)")
    for name in ("name", "there", "MB", "licence", "where"):
        table.add_column(name)
    for info in infos:
        there = "yes" if info.present else "no (pulled when needed)"
        size = f"{info.size / 1e6:.0f}" if info.present else ""
        table.add_row(info.name, there, size, info.licence, Text(str(info.where)))
    return table


def doctor_table(findings: Sequence[Finding]) -> Table:
    marks = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
    table = Table(title="What a run needs", show_lines=False, title_justify="left")
    for name in ("", "what", "says"):
        table.add_column(name)
    for finding in findings:
        table.add_row(marks[finding.health], Text(finding.what), Text(printable(finding.says)))
    return table
