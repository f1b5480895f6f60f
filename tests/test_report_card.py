"""A model card: what the hub reads, what a reader must know, and hostile names as text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import Command
from test_leaderboards import fake_run
from test_reports import HOSTILE

from harness.errors import HarnessError
from harness.records import RunDetails
from reports.card import write_card


def front(text: str) -> dict[str, object]:
    _, head, _ = text.split("---\n", 2)
    found = yaml.safe_load(head)
    assert isinstance(found, dict)
    return found


def test_the_card_of_a_run(command: Command, reference: Path, tmp_path: Path) -> None:
    told = command("card", reference, "--iteration", 1, "--out", tmp_path / "card", "--json").ok()
    assert told.json["policy"] == str(reference / "iter-1" / "policy")
    assert (reference / "iter-1" / "policy" / "config.json").exists()
    text = (tmp_path / "card" / "README.md").read_text("utf-8")
    assert front(text)["license"] == "apache-2.0"
    assert "base_model" not in front(text)  # an embedded one has no address on the hub
    assert "**After 1 iteration, dno's win rate against its start is" in text
    assert "iteration 2" not in text.lower()  # another policy
    assert "another seed is another policy" in text
    pictures = re.findall(r"\((figures/[^)]+)\)", text)
    assert pictures
    assert all((tmp_path / "card" / name).exists() for name in pictures)
    refused = command("card", reference, "--iteration", 9, "--out", tmp_path / "other").sentence()
    assert "no trained and scored iteration 9: name one of 1 to 2" in refused


@pytest.mark.parametrize(("model", "base"), [("org/name", "org/name"), ("../folder", None)])
def test_hostile_names_mean_nothing(tmp_path: Path, model: str, base: str | None) -> None:
    run = fake_run(HOSTILE + "\n---\n| a | [x](http://evil.test)", HOSTILE, iterations=1)
    run = replace(run, config=run.config.model_copy(update={"model": model}))
    run = replace(run, provenance={"command": f"```\n{HOSTILE}", "model_licence": HOSTILE})
    path = write_card(run, RunDetails(), tmp_path, 1, lambda judge: f"{judge} [a](b) <b>")
    text = path.read_text("utf-8")
    assert front(text).get("base_model") == base
    assert front(text)["license"] == "other"
    _, _, body = text.split("---\n", 2)
    outside = "".join(body.split("```")[0::2])
    assert not re.search(r"(?<!\\)[<>]", outside)
    assert not re.search(r"(?<!\\)\]\((?!figures/)", outside)
    assert body.count("```") == 4


def test_a_start_needs_no_card(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no trained iteration yet"):
        write_card(fake_run(iterations=0), RunDetails(), tmp_path, 0, str)
