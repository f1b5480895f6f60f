"""`harness judge`: a file of outputs against a file of reference outputs."""

from __future__ import annotations

from pathlib import Path

from harness import codec
from harness.asking import Asker, bare_match
from harness.client.account import CALLS
from harness.config import AskingConfig
from harness.data.annotations import Annotations, annotation, read_annotations
from harness.data.outputs import generator_of, read_rows
from harness.errors import HarnessError
from harness.progress import Reporter


def judge_files(
    config: AskingConfig, outputs: Path, reference: Path, out: Path, reporter: Reporter
) -> Annotations:
    """Judge each output against the reference's to the same instruction; write OUT in the format
    of AlpacaEval's annotations.json and read it back. The ledger of calls stands beside OUT.

    Outputs without a reference are left out, and said. Raises HarnessError where nothing pairs.
    """
    ours, theirs = read_rows(outputs), {row.instruction: row for row in read_rows(reference)}
    model, baseline = generator_of(outputs, ours), generator_of(reference, [*theirs.values()])
    asker = Asker.of(config, reporter, otherwise="files of outputs have none")
    paired = [(row, theirs[row.instruction]) for row in ours if row.instruction in theirs]
    if not paired:
        raise HarnessError(
            f"{outputs} and {reference} share no instruction; give outputs to the same prompts."
        )
    if len(paired) < len(ours):
        reporter.say(f"{len(ours) - len(paired)} outputs have no reference and are left out")
    matches = [
        bare_match(row.instruction, row.instruction, row.text, other.text, gold=other.text)
        for row, other in paired
    ]
    said = asker.ask(matches, out.with_name(f"{out.stem}.{CALLS}"), "judging")
    rows = [
        annotation(row.dataset, row.instruction, (baseline, other.text), (model, row.text), verdict)
        for (row, other), verdict in zip(paired, said, strict=True)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    codec.write_json(out, rows)
    return read_annotations(out)
