"""What the offline judge sees of one text, of an answer beside its instruction, of two answers.

`Reading` is one text, taken apart once. `qualities` says what an answer is like by itself and
beside its instruction, `agreement` what of one answer stands in another. The time is linear in the
part of a text that is looked at (`LOOKED_AT` characters); `chars` is that of the whole text.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from harness.judges.offline.words import (
    CLOSINGS,
    CONNECTIVES,
    COUNTS,
    FILLERS,
    HEDGES,
    OPENINGS,
    REFUSALS,
    STOPWORDS,
    VERBS,
)

LOOKED_AT = 12_000
ABSENT = -9.0
"""Stands for what cannot be measured (no number was asked for, say): lower than any feature."""

_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W_]+(?:['’][^\W_]+)*")
_SENTENCE = re.compile(r"[.!?。！？]+[\"'”’)\]]*\s|\n+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WIDE = re.compile(r"[\u2e81-\U0010ffff]")
_NAME = re.compile(r"(?<=[a-z,;:)] )[A-Z][\w’'-]+")
_LINES = {
    "bullets": re.compile(r"^[ \t]*[-*•+] ", re.M),
    "numbered": re.compile(r"^[ \t]*\(?\d{1,3}[.)] ", re.M),
    "headers": re.compile(r"^#{1,6} ", re.M),
    "bold_lines": re.compile(r"^[^\n]{0,6}\*\*[^\n*]{1,80}\*\*", re.M),
    "tables": re.compile(r"^\|", re.M),
    "speakers": re.compile(r"^[A-Z][\w ]{0,20}: ", re.M),
}
_ASKED_COUNT = re.compile(r"\b(\d{1,3}|" + "|".join(COUNTS) + r") (?:[a-z-]+ ){0,2}?([a-z]{3,}s)\b")
_CODE_WORDS = (
    "code",
    "function",
    "python",
    "javascript",
    "sql",
    "html",
    "program",
    "script",
    "c++",
)


@dataclass(frozen=True)
class Reading:
    """A text with what is asked of it more than once. `text` is stripped and cut at `LOOKED_AT`."""

    text: str
    chars: int
    lower: str
    words: tuple[str, ...]

    @cached_property
    def counts(self) -> Counter[str]:
        return Counter(self.words)

    @cached_property
    def content(self) -> frozenset[str]:
        """Words that carry meaning, cut to six letters: a crude stem."""
        return frozenset(w[:6] for w in self.counts if w not in STOPWORDS)

    @cached_property
    def pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset(zip(self.words, self.words[1:], strict=False))

    @cached_property
    def triples(self) -> Counter[tuple[str, str, str]]:
        return Counter(zip(self.words, self.words[1:], self.words[2:], strict=False))

    @cached_property
    def numbers(self) -> frozenset[str]:
        return frozenset(n.replace(",", "") for n in _NUMBER.findall(self.text))

    @cached_property
    def names(self) -> frozenset[str]:
        """Capitalised words inside sentences."""
        return frozenset(_NAME.findall(self.text))

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        return tuple(s for piece in _SENTENCE.split(self.lower) if (s := piece.strip(" \t*#-")))

    @cached_property
    def sentence_set(self) -> frozenset[str]:
        return frozenset(self.sentences)


def read(text: str) -> Reading:
    stripped = text.strip()
    seen = stripped[:LOOKED_AT]
    lower = seen.lower()
    return Reading(seen, len(stripped), lower, tuple(_WORD.findall(lower)))


def qualities(asked: Reading, said: Reading) -> dict[str, float]:
    """All that is said of one answer to one instruction."""
    return (
        _size(said)
        | _layout(said)
        | _wording(said)
        | _repetition(said)
        | _edges(said)
        | _relevance(asked, said)
        | _constraints(asked, said)
    )


def setting(asked: Reading) -> dict[str, float]:
    """What kind of instruction it is; the same for both answers."""
    first = asked.words[0] if asked.words else ""
    lower = asked.lower
    found = {
        "x_chars": math.log1p(asked.chars),
        "x_lines": math.log1p(lower.count("\n")),
        "x_question": float("?" in lower),
        "x_code": float(any(word in lower for word in _CODE_WORDS)),
        "x_numbers": math.log1p(len(asked.numbers)),
        "x_names": math.log1p(len(asked.names)),
        "x_foreign": _foreign(asked.text),
        "x_stop": _share(
            sum(n for w, n in asked.counts.items() if w in STOPWORDS), len(asked.words)
        ),
    }
    return found | {f"x_{name}": float(first in group) for name, group in VERBS.items()}


def _size(said: Reading) -> dict[str, float]:
    words = len(said.words)
    lengths = [s.count(" ") + 1 for s in said.sentences]
    mean = sum(lengths) / len(lengths) if lengths else 0.0
    spread = math.sqrt(sum((n - mean) ** 2 for n in lengths) / len(lengths)) if lengths else 0.0
    return {
        "chars": math.log1p(said.chars),
        "words": math.log1p(words),
        "sentences": math.log1p(len(lengths)),
        "lines": math.log1p(said.text.count("\n")),
        "paragraphs": math.log1p(said.text.count("\n\n")),
        "sentence_words": mean,
        "sentence_spread": spread,
        "sentence_longest": math.log1p(max(lengths, default=0)),
        "line_chars": math.log1p(said.chars / (1 + said.text.count("\n"))),
        "word_chars": _share(sum(map(len, said.words)), words),
        "long_words": _share(sum(len(w) > 8 for w in said.words), words),
    }


def _layout(said: Reading) -> dict[str, float]:
    text, lines = said.text, 1 + said.text.count("\n")
    found = {name: len(pattern.findall(text)) for name, pattern in _LINES.items()}
    return {name: math.log1p(n) for name, n in found.items()} | {
        "listed": (found["bullets"] + found["numbered"]) / lines,
        "bold": math.log1p(text.count("**") / 2),
        "italic_or_star": math.log1p(text.count("*") - 2 * text.count("**")),
        "fences": float(min(9, text.count("```"))),
        "fence_open": float(text.count("```") % 2),
        "ticks": math.log1p(text.count("`")),
        "latex": math.log1p(text.count("\\") + text.count("$")),
        "links": math.log1p(text.count("http")),
        "foreign": _foreign(text),
        "wide": _share(len(_WIDE.findall(text[:2000])), min(2000, len(text))),
    }


def _wording(said: Reading) -> dict[str, float]:
    text, counts, words = said.text, said.counts, len(said.words)
    found = {
        f"rate_{name}": _share(text.count(mark), words)
        for name, mark in zip(
            ("comma", "colon", "semicolon", "ask", "shout", "quote", "paren", "dash", "hyphen"),
            (",", ":", ";", "?", "!", '"', "(", "—", "-"),
            strict=True,
        )
    }
    for name, group in (
        ("i", ("i", "i'm", "my", "me")),
        ("you", ("you", "your")),
        ("we", ("we", "our")),
    ):
        found[f"rate_{name}"] = _share(sum(counts[w] for w in group), words)
    head = said.words[:120]
    return found | {
        "rate_stop": _share(sum(n for w, n in counts.items() if w in STOPWORDS), words),
        "rate_connective": _share(sum(counts[w] for w in CONNECTIVES), words),
        "rate_hedge": _share(sum(counts[w] for w in HEDGES), words),
        "rate_digit": _share(sum(len(n) for n in said.numbers), words),
        "rate_upper": _share(sum(map(str.isupper, text[:2000])), min(2000, len(text))),
        "variety": _share(len(counts), words),
        "variety_head": _share(len(set(head)), len(head)),
        "once": _share(sum(n == 1 for n in counts.values()), len(counts)),
        "names": math.log1p(len(said.names)),
        "numbers": math.log1p(len(said.numbers)),
        "content_words": math.log1p(len(said.content)),
        "content_density": _share(len(said.content), words),
    }


def _repetition(said: Reading) -> dict[str, float]:
    grams = said.triples.total()
    raw = said.text.encode("utf-8", "replace")
    half = len(said.words) // 2
    first = set(said.words[:half])
    new = [w for w in set(said.words[half:]) if w not in first and w not in STOPWORDS]
    last = set(said.words[-max(1, len(said.words) // 4) :]) if said.words else set()
    before = set(said.words[: -max(1, len(said.words) // 4)])
    fresh = [w for w in last if w not in before and w not in STOPWORDS]
    whole = len(said.sentences)
    return {
        "triples_again": 1 - len(said.triples) / grams if grams else 0.0,
        "triple_most": _share(max(said.triples.values(), default=0), max(1, grams)),
        "sentences_again": 1 - len(set(said.sentences)) / whole if whole else 0.0,
        "compressed": len(zlib.compress(raw, 1)) / max(20, len(raw)),
        "half_new": _share(len(new), half),
        "quarter_new": _share(len(fresh), len(last)),
    }


def _edges(said: Reading) -> dict[str, float]:
    """How the answer begins and ends, and the phrases of refusal, filler and politeness."""
    start, end = said.lower[:80], said.lower[-160:]
    last = said.text[-1:] if said.chars <= LOOKED_AT else ""
    opened = next((i + 1 for i, o in enumerate(OPENINGS) if start.startswith(o)), 0)
    return {
        "opening": float(opened),
        "opening_marked": float(start.startswith(("#", "**", "1.", "-", "|", "```"))),
        "begins_lower": float(said.text[:1].islower()),
        "ends_well": float(last in '.!?"”)。`*|'),
        "ends_colon": float(last in ":,;-("),
        "ends_asking": float(last == "?"),
        "ends_letter": float(last.isalpha()),
        "closing": float(sum(end.count(c) for c in CLOSINGS)),
        "refusal_start": float(sum(said.lower[:200].count(r) for r in REFUSALS)),
        "refusal": float(sum(said.lower.count(r) for r in REFUSALS)),
        "filler": float(sum(said.lower.count(f) for f in FILLERS)),
        "last_words": math.log1p(len(said.sentences[-1].split()) if said.sentences else 0),
        "paragraph_last": math.log1p(len(said.text) - 1 - said.text.rfind("\n\n")),
    }


def _relevance(asked: Reading, said: Reading) -> dict[str, float]:
    shared = asked.content & said.content
    head = frozenset(w[:6] for w in said.words[:40])
    return {
        "asked_said": _share(len(shared), len(asked.content)),
        "said_asked": _share(len(shared), len(said.content)),
        "asked_head": _share(len(asked.content & head), len(asked.content)),
        "asked_pairs": _share(len(asked.pairs & said.pairs), len(asked.pairs)),
        "copied": _share(len(asked.triples.keys() & said.triples.keys()), len(said.triples)),
        "asked_numbers": _share(len(asked.numbers & said.numbers), len(asked.numbers), ABSENT),
        "asked_names": _share(len(asked.names & said.names), len(asked.names), ABSENT),
        "per_asked": math.log((1 + said.chars) / (1 + asked.chars)),
        "foreign_gap": abs(_foreign(asked.text) - _foreign(said.text)),
    }


def _constraints(asked: Reading, said: Reading) -> dict[str, float]:
    """Asked-for numbers of items and words, and asked-for forms, met or missed."""
    x = asked.lower[:4000]
    items = len(_LINES["bullets"].findall(said.text)) + len(_LINES["numbered"].findall(said.text))
    table, fence = "\n|" in said.text or said.text.startswith("|"), "```" in said.text
    found = {"items_gap": ABSENT, "words_gap": ABSENT}
    for number, noun in _ASKED_COUNT.findall(x):
        n = int(number) if number.isdigit() else COUNTS[number]
        if noun == "words" and n:
            found["words_gap"] = math.log((1 + len(said.words)) / n)
        elif 1 < n <= 50:
            found["items_gap"] = math.log((1 + items) / (1 + n))
    code = any(word in x for word in _CODE_WORDS)
    return found | {
        "table_met": (1.0 if table else -1.0) if "table" in x else 0.0,
        "code_met": (1.0 if fence else -1.0) if code else -0.5 * fence,
        "list_met": math.log1p(items) if "list" in x else ABSENT,
        "brief_over": math.log1p(said.chars)
        if "short" in x or "brief" in x or "concise" in x
        else ABSENT,
    }


def agreement(a: Reading, b: Reading) -> dict[str, float]:
    """What a says of what b says: shares of b's words, pairs, numbers, names; common beginning."""
    shared = len(a.content & b.content)
    either = len(a.content) + len(b.content)
    same = _common_prefix(a.text, b.text)
    rest = a.text[same:]
    fresh = (
        frozenset(w[:6] for w in _WORD.findall(rest.lower()) if w not in STOPWORDS)
        if same > 40
        else a.content
    )
    return {
        "words_of": _share(shared, len(b.content)),
        "words_f1": _share(2 * shared, either),
        "pairs_of": _share(len(a.pairs & b.pairs), len(b.pairs)),
        "triples_of": _share(len(a.triples.keys() & b.triples.keys()), len(b.triples)),
        "numbers_of": _share(len(a.numbers & b.numbers), len(b.numbers), ABSENT),
        "names_of": _share(len(a.names & b.names), len(b.names), ABSENT),
        "names_lost": math.log1p(len(b.names - a.names)),
        "numbers_lost": math.log1p(len(b.numbers - a.numbers)),
        "sentences_of": _share(len(a.sentence_set & b.sentence_set), len(b.sentence_set)),
        "head_of": _head(a, b),
        "prefix_of": _share(same, len(b.text)),
        "rest": _share(len(rest), max(1, len(a.text))) if same > 40 else ABSENT,
        "rest_new": _share(len(fresh - b.content), max(1, len(fresh))),
        "rest_density": _share(len(fresh - b.content), max(1, len(rest) / 6)),
    }


def _head(a: Reading, b: Reading) -> float:
    ours, theirs = frozenset(a.words[:30]), frozenset(b.words[:30])
    return _share(len(ours & theirs), len(theirs))


def _common_prefix(a: str, b: str) -> int:
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _foreign(text: str) -> float:
    """Share of non-ASCII characters at the beginning."""
    head = text[:1000]
    return _share(len(head) - len(head.encode("ascii", "ignore")), len(head))


def _share(part: float, whole: float, empty: float = 0.0) -> float:
    return part / whole if whole else empty
