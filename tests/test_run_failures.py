"""`harness run` with a judge that fails: counted, left out, and asked again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from conftest import Command, Done, differing, rows, store_folder

JUDGE = '''
"""A judge that fails as the environment says, and keeps a log of what it was asked."""
import hashlib, json, os
from harness.errors import HarnessError
from harness.types import Verdict

class Moody:
    identity = "moody-1"
    reference_based = False

    def compare(self, matches):
        mood = os.environ["MOOD"]
        for count, match in enumerate(matches):
            with open(os.environ["ASKED"], "a") as log:
                log.write(json.dumps([match.id, match.a.text, match.b.text]) + "\\n")
            said = hashlib.sha256(f"{match.a.text}|{match.b.text}".encode()).digest()
            kind = said[0] % 8 if mood == "moody" else 0 if mood == "deaf" else 7
            if mood == "breaks" and count == 5:
                raise HarnessError("The judge is out of credit; buy some.")
            if kind == 0:
                yield Verdict(match.id, None, self.identity, "timeout")
            elif kind == 1:
                yield Verdict(match.id, None, self.identity)
            elif kind > 2:
                yield Verdict(match.id, said[1] / 255, self.identity)
            # else: no word at all
'''
REASONS = {"timeout", "no reason given", "the judge gave no verdict"}


def test_failed_judgements_are_counted_left_out_and_asked_again(
    command: Command, tmp_path: Path
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(JUDGE, "utf-8")
    log = tmp_path / "asked.jsonl"
    out = tmp_path / "run" / "dno"

    def run(mood: str, prelude: str = "", out: Path = out) -> tuple[Done, list[list[str]]]:
        """The command in a mood, and what it asked the judge."""
        log.write_text("")
        env = {"MOOD": mood, "ASKED": str(log)}
        done = command.run(out, "--iters", 1, "--judge", f"{judge}:Moody", env=env, prelude=prelude)
        return done, rows(log)

    # nothing but failures: no example, and the run goes on once the judge hears
    done, _ = run("deaf")
    told = done.sentence()
    assert "gave no example from 6 prompts (6 judgement failed)" in told
    scores = json.loads((out / "iter-0" / "scores.json").read_text("utf-8"))
    assert scores["win_rate"]["failures"] == {"timeout": 12}
    assert scores["win_rate"]["value"] is None

    done, asked = run("moody")
    done.ok()
    verdicts = {row["id"]: row for row in rows(out / "iter-1" / "verdicts.jsonl")}
    failed = {name for name, row in verdicts.items() if row["error"]}
    reasons = Counter(row["error"] for row in verdicts.values() if row["error"])
    assert set(reasons) == REASONS
    assert all((row["p"] is None) == (row["error"] is not None) for row in verdicts.values())
    composition = json.loads((out / "iter-1" / "composition.json").read_text("utf-8"))
    assert composition["judge_failures"] == reasons
    manifest = json.loads((out / "iter-1" / "verdicts.manifest.json").read_text("utf-8"))
    assert manifest["failed"] == len(failed) > 3
    for t in (0, 1):
        scores = json.loads((out / f"iter-{t}" / "scores.json").read_text("utf-8"))
        matches = rows(out / f"iter-{t}" / "matches.jsonl")
        counts = Counter(r["error"] for r in matches if r["error"] and "/opponent" in r["id"])
        assert scores["win_rate"]["failures"] == counts
        assert scores["win_rate"]["n"] == 12 - sum(counts.values())
    # no example leans on a comparison that failed: its two candidates have no value
    samples = rows(out / "iter-1" / "samples.jsonl")
    texts = {(row["prompt_id"], row["text"]) for row in samples}
    examples = [row["example"] for row in rows(out / "iter-1" / "examples.jsonl")]
    spoilt = {
        (name.rsplit("/", 1)[0], text) for name, a, b in asked if name in failed for text in (a, b)
    }
    assert examples
    assert texts & spoilt
    for example in examples:
        for side in ("chosen", "rejected"):
            assert (example["prompt"]["id"], example[side]["text"]) not in spoilt

    # The judge hears again, but the command is killed at the second new answer, then before the
    # manifest, then the judge breaks off: what was answered is never asked again.
    at_row = """
import os
from harness import store
append, seen = store.Rows.append, []
def dies(self, row):
    if self._path.name == "verdicts.jsonl":
        seen.append(row)
        if len(seen) == 2:
            os.kill(os.getpid(), 9)
    append(self, row)
store.Rows.append = dies
"""
    before_manifest = """
import os
from harness import codec
write = codec.write_json
def dies(path, data):
    if path.name == "manifest.json" and data["stage"] == "verdicts":
        os.kill(os.getpid(), 9)
    write(path, data)
codec.write_json = dies
"""
    unsure = {row["id"] for row in rows(out / "iter-0" / "matches.jsonl") if row["error"]}
    left = [name for name, _, _ in asked if name in failed]
    done, asked = run("well", at_row)
    assert done.code == -9
    assert {name for name, _, _ in asked} - failed == unsure
    assert [name for name, _, _ in asked if name in failed] == left[:2]
    done, asked = run("breaks")
    assert done.sentence() == "The judge is out of credit; buy some."
    assert [name for name, _, _ in asked] == left[1:7]
    done, asked = run("well", before_manifest)
    assert done.code == -9
    assert [name for name, _, _ in asked] == left[6:]
    done, asked = run("well")
    done.ok()
    assert not {name for name, _, _ in asked} & set(verdicts)

    whole = tmp_path / "whole" / "dno"
    run("well", out=whole)
    assert differing(out, whole) == []
    assert store_folder(out, 1, "verdicts").name == store_folder(whole, 1, "verdicts").name
