"""`harness judge`: a file of outputs against a file of reference outputs."""

from __future__ import annotations

from pathlib import Path

from harness import codec, registry
from harness.data.annotations import Annotations, annotation, read_annotations
from harness.data.outputs import generator_of, read_rows
from harness.errors import HarnessError
from harness.judges.adapters import as_pair_judge
from harness.progress import Reporter
from harness.stages.judging import verdicts
from harness.types import Completion, Match, Message, Prompt, Verdict

CHUNK = 64


def judge_files(
    name: str, outputs: Path, reference: Path, out: Path, reporter: Reporter
) -> Annotations:
    """Judge each output against the reference's to the same instruction; write OUT in the format
    of AlpacaEval's annotations.json and read it back.

    Outputs without a reference are left out, and said. Raises HarnessError where nothing pairs.
    """
    ours, theirs = read_rows(outputs), {row.instruction: row for row in read_rows(reference)}
    model, baseline = generator_of(outputs, ours), generator_of(reference, [*theirs.values()])
    judge = as_pair_judge(registry.make_judge(name))
    if judge.reference_based:
        raise HarnessError(
            f"The judge '{name}' scores by a gold answer, and files of outputs have none; name "
            "another --judge."
        )
    paired = [(row, theirs[row.instruction]) for row in ours if row.instruction in theirs]
    if not paired:
        raise HarnessError(
            f"{outputs} and {reference} share no instruction; give outputs to the same prompts."
        )
    if len(paired) < len(ours):
        reporter.say(f"{len(ours) - len(paired)} outputs have no reference and are left out")
    matches = [
        Match(
            row.instruction,
            Prompt(row.instruction, (Message("user", row.instruction),)),
            Completion(row.instruction, 0, row.text),
            Completion(row.instruction, 1, other.text),
        )
        for row, other in paired
    ]
    said: dict[str, Verdict] = {}
    with reporter.track("judging", len(matches)) as advance:
        for at in range(0, len(matches), CHUNK):
            chunk = matches[at : at + CHUNK]
            said |= {verdict.match_id: verdict for verdict in verdicts(judge, chunk)}
            advance(len(chunk))
    rows = [
        annotation(
            row.dataset,
            row.instruction,
            (baseline, other.text),
            (model, row.text),
            said[row.instruction],
        )
        for row, other in paired
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    codec.write_json(out, rows)
    return read_annotations(out)
