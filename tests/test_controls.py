"""The controls' texts: what is added comes after, and what is left ends with a whole word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scoring.controls import null_answer, padded, shortened


@given(st.text(max_size=400))
def test_padding_and_shortening_hold_for_any_text(text: str) -> None:
    longer, shorter = padded(text), shortened(text)
    assert longer.startswith(text)
    assert len(longer) >= 1.5 * len(text)
    assert len(longer) > len(text)
    assert text.startswith(shorter)
    assert len(shorter) <= (len(text) + 1) // 2
    assert bool(shorter) == bool(text)
    # one long text, and a filler sentence at most more than it needs
    assert len(longer) < 1.5 * len(text) + 80


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One is here. Two is here too. Three.", "One is here."),
        ("Yes. And then a sentence without any end, and on", "Yes. And then a sentence"),
        ("one two three four five six", "one two three"),
        ("- first item\n- second item\n- third", "- first item"),
        ("Version 1.5 of it is out and more", "Version 1.5 of it"),
        ("unbreakable", "unbrea"),
    ],
)  # fmt: skip
def test_a_cut_is_at_a_sentence_or_a_word(text: str, kept: str) -> None:
    assert shortened(text) == kept


def test_the_null_answer_is_one_sentence() -> None:
    assert null_answer() == null_answer()
    assert null_answer().count(".") == 1
