"""The store: fingerprints, rows that survive any crash, manifests that are never a lie."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import codec
from harness.codec import Json
from harness.errors import HarnessError
from harness.store import MANIFEST, Rows, Stage, Store, Workspace

# The times of a busy machine say nothing, and each example writes files to the disk.
ours = settings(max_examples=100, deadline=None)

TEXTS = st.text(max_size=12)  # newlines of every alphabet, quotes, emoji, controls


def key(row: Json) -> str:
    return str(row["id"])


def failed(row: Json) -> bool:
    return row["error"] is not None


def stage(work: Callable[[Workspace], None], **changes: object) -> Stage:
    made = Stage("samples", 1, {"n": 3, "top_p": 0.9}, {"policy": "abc"}, 0, work)
    return replace(made, **changes)  # type: ignore[arg-type]


def write_rows(path: Path, wanted: list[tuple[str, str]]) -> bytes:
    """What a stage does: append the rows that are not there yet, then finish."""
    rows = Rows(path, key, lambda _row: False)
    for name, text in wanted:
        if not rows.done(name):
            rows.append({"id": name, "text": text})
    rows.finish()
    return path.read_bytes()


@ours
@given(
    wanted=st.lists(st.tuples(TEXTS, TEXTS), max_size=8, unique_by=lambda row: row[0]),
    crashes=st.lists(st.integers(0, 400), max_size=4),
)
def test_rows_survive_a_crash_at_any_byte(
    wanted: list[tuple[str, str]], crashes: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        expected = write_rows(Path(folder) / "whole.jsonl", wanted)
        assert [json.loads(text)["id"] for text in expected.decode().split("\n")[:-1]] == sorted(
            name for name, _ in wanted
        )
        path = Path(folder) / "rows.jsonl"
        part = path.with_name("rows.jsonl.part")
        for byte in crashes:
            rows = Rows(path, key, lambda _row: False)
            before = part.read_bytes()
            for name, text in wanted:
                if not rows.done(name):
                    rows.append({"id": name, "text": text})
            rows.close()
            # A crash: the file ends anywhere after what the attempt before had kept.
            os.truncate(part, min(len(before) + byte, part.stat().st_size))
        kept = part.read_bytes().count(b"\n") if part.exists() else 0
        rows = Rows(path, key, lambda _row: False)
        assert len(rows.all()) == kept  # whole lines are never lost, torn ones never read
        rows.close()
        assert write_rows(path, wanted) == expected


@ours
@given(st.data())
def test_failed_rows_alone_are_asked_again_whenever_it_crashes(data: st.DataObject) -> None:
    """A judge answers some rows; the stage is opened again, crashes at any row or before its
    manifest, and goes on: no answer is paid for twice, and none is lost."""
    names = [f"m{n}" for n in range(data.draw(st.integers(1, 6)))]
    asked: list[str] = []
    works: set[str] = set()
    crash_after: int | None = None

    class Crash(BaseException):
        pass

    def work(space: Workspace) -> None:
        rows = space.rows("verdicts.jsonl", key, failed)
        for count, name in enumerate([name for name in names if not rows.done(name)]):
            if count == crash_after:
                raise Crash
            asked.append(name)
            rows.append({"id": name, "error": None if name in works else "busy"})
        space.write_json("counts.json", {"failed": rows.failed})
        if crash_after is not None:
            rows.finish()  # the latest moment before the manifest
            raise Crash

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), {})
        answered: set[str] = set()
        for _ in range(data.draw(st.integers(1, 4))):
            works |= data.draw(st.sets(st.sampled_from(names)))
            crash_after = data.draw(st.none() | st.integers(0, len(names)))
            asked.clear()
            try:
                artifact, _ = store.ensure(stage(work))
                assert artifact.manifest.failed == len(set(names) - works - answered)
            except Crash:
                pass
            assert not answered & set(asked)
            answered |= works & set(asked)
        works |= set(names)
        crash_after = None
        asked.clear()
        artifact, _ = store.ensure(stage(work))
        assert set(asked) == set(names) - answered
        assert artifact.manifest.failed == 0
        written = codec.read_lines(artifact.path / "verdicts.jsonl")
        assert [row for _, row in written] == [{"id": name, "error": None} for name in names]
        assert store.ensure(stage(work)) == (artifact, False)
        assert not list(artifact.path.glob("*.part"))


def test_a_garbled_row_is_a_sentence_and_a_torn_one_is_not(tmp_path: Path) -> None:
    part = tmp_path / "samples.jsonl.part"
    part.write_bytes(b'{"id": "a"}\n{"id": "b", "te')
    rows = Rows(tmp_path / "samples.jsonl", key, lambda _row: False)
    assert rows.done("a")
    assert not rows.done("b")
    rows.close()
    assert part.read_bytes() == b'{"id": "a"}\n'
    part.write_bytes(b'{"id": "a"}\n\0\0\0\0\n{"id": "b"}\n')
    with pytest.raises(HarnessError, match=rf"{part}.*line 2.*delete the folder {tmp_path} "):
        Rows(tmp_path / "samples.jsonl", key, lambda _row: False)


@given(
    st.sampled_from(
        [
            {"name": "outputs"},
            {"version": 2},
            {"params": {"n": 4, "top_p": 0.9}},
            {"params": {"n": 3}},
            {"params": {"n": "3", "top_p": 0.9}},
            {"inputs": {"policy": "abd"}},
            {"inputs": {"policy": "abc", "prompts": "x"}},
            {"inputs": {"start": "abc"}},
            {"seed": 1},
        ]
    )
)
def test_whatever_decides_a_stage_is_in_its_fingerprint(changes: dict[str, object]) -> None:
    def work(_space: Workspace) -> None:
        pass

    assert stage(work, **changes).fingerprint != stage(work).fingerprint
    assert stage(work, label="other words").fingerprint == stage(work).fingerprint
    assert stage(print).fingerprint == stage(work).fingerprint
    turned = dict(reversed(list(stage(work).params.items())))
    assert stage(work, params=turned).fingerprint == stage(work).fingerprint


def _writes(space: Workspace) -> None:
    rows = space.rows("rows.jsonl", key)
    for name in "ba":
        rows.append({"id": name})
    folder = space.directory("policy")
    folder.mkdir()
    (folder / "weights").write_text("w")


def test_what_is_not_as_the_manifest_says_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path, {"python": "3"})
    first, computed = store.ensure(stage(_writes))
    assert computed
    assert (first.path / "rows.jsonl").read_text() == '{"id": "a"}\n{"id": "b"}\n'
    assert set(first.manifest.files) == {"rows.jsonl", "policy/weights"}
    weights = first.path / "policy" / "weights"
    for spoil, problem in (
        (lambda: weights.write_text("x"), "other contents"),
        (lambda: weights.write_text("longer"), "another size"),
        (weights.unlink, "is missing"),
    ):
        spoil()  # type: ignore[no-untyped-call]
        with pytest.raises(
            HarnessError, match=f"^{weights} .*{problem}.*delete the folder"
        ) as told:
            store.ensure(stage(_writes))
        assert str(first.path) in str(told.value)
    # the work fails half-way: no manifest, and what it left is not taken for finished
    (first.path / MANIFEST).unlink()

    def breaks(space: Workspace) -> None:
        _writes(space)
        raise HarnessError("out of luck")

    with pytest.raises(HarnessError, match="out of luck"):
        store.ensure(stage(breaks))
    assert store.find(stage(breaks)) is None
    again, computed = store.ensure(stage(_writes))
    assert computed
    assert again.digest == first.digest


def test_another_store_lends_its_artefacts_and_is_not_changed(tmp_path: Path) -> None:
    """Looking writes nothing anywhere; taking links; a damaged one is named where it lies."""
    lender = Store(tmp_path / "lender", {})
    lent, _ = lender.ensure(stage(_writes))
    store = Store(tmp_path / "own", {}, [lender.root])
    found = store.find(stage(_writes))
    assert found is not None
    assert found.manifest == lent.manifest
    assert not store.root.exists()
    taken, computed = store.ensure(stage(_writes))
    assert not computed
    assert taken.path.parent == store.root
    assert taken.path.joinpath("rows.jsonl").samefile(lent.path / "rows.jsonl")

    (lent.path / "policy" / "weights").write_text("spoilt, here and through the link")
    other = Store(tmp_path / "third", {}, [lender.root])
    with pytest.raises(HarnessError, match=f"delete the folder {lent.path} "):
        other.ensure(stage(_writes))
