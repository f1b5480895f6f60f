"""Do the training prompts hold the benchmark's instructions?

The rule is Tülu 3's (Lambert et al. 2024, arXiv:2411.15124, section 3.2), on words: a word of an
instruction is matched where an 8-gram around it also stands in the training prompt, and the two
overlap where one training prompt matches more than half of the instruction's words. An instruction
of fewer than 8 words has no 8-gram; it overlaps with a training prompt that says the same words and
no others, so that "hello" is not found in every long prompt. Paraphrases and translations are not
found, and neither are parts of texts in scripts that do not put spaces between words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from harness.errors import HarnessError
from harness.types import Overlap, Prompt

N = 8
SHARE = 0.5
LISTED = 10
"""Pairs that the refusal lists."""

_WORD = re.compile(r"[^\W_]+")

Gram = tuple[str, ...]


def overlaps(train: Sequence[Prompt], benchmark: Sequence[Prompt]) -> list[Overlap]:
    """The pairs that overlap, in the order of the training prompts, then of the benchmark's.

    User turns alone are compared, all those of a conversation as one text. Case, punctuation and
    the way in which Unicode composes a letter make no difference.
    """
    places: defaultdict[Gram, list[tuple[int, int]]] = defaultdict(list)
    lengths = []
    for index, prompt in enumerate(benchmark):
        words = _words(prompt)
        lengths.append(len(words))
        for start, gram in enumerate(_grams(words)):
            places[gram].append((index, start))
    found = []
    for prompt in train:
        matched: defaultdict[int, set[int]] = defaultdict(set)
        # nearly all grams of nearly all prompts are unknown: `&` drops them without a Python loop
        for gram in places.keys() & _grams(_words(prompt)):
            for index, start in places[gram]:
                matched[index].update(range(start, start + len(gram)))
        for index, positions in sorted(matched.items()):
            share = len(positions) / lengths[index]
            if share > SHARE:
                found.append(Overlap(prompt.id, benchmark[index].id, share))
    return found


def refusal(found: Sequence[Overlap], train: str, benchmark: str) -> HarnessError:
    """Why a run does not start, with the first pairs and both ways on.

    Ids come from files: `repr` keeps what would move a terminal's cursor from reaching it.
    """
    listed = ", ".join(
        f"{o.train_id!r} has {o.benchmark_id!r} ({o.share:.0%})" for o in found[:LISTED]
    )
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return HarnessError(
        f"Training prompts in '{train}' hold instructions of the benchmark '{benchmark}', in whole "
        f"or for the most part: {listed}{more}; remove them from the training file, or go on with "
        "--allow-contamination, which the report will then say."
    )


def _words(prompt: Prompt) -> list[str]:
    said = " ".join(m.content for m in prompt.messages if m.role == "user")
    return _WORD.findall(unicodedata.normalize("NFKC", said).casefold())


def _grams(words: list[str]) -> Iterable[Gram]:
    """The n-grams; a shorter text is one gram, which equals that of the same short text alone."""
    if 0 < len(words) < N:
        return [tuple(words)]
    return zip(*(words[i:] for i in range(N)), strict=False)
