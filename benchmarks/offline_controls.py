"""Answers made worse on purpose: what the offline judge learns to mark down, and is tested on.

The judge is tested with other sentences than it was trained on: `harness.scoring.controls`'s.
"""

from __future__ import annotations

from random import Random

KINDS = ("null", "padded", "repeated", "truncated", "foreign", "salad")
"""`foreign` is an answer to another instruction, `salad` its own words in another order."""

NULLS = (
    "",
    "I don't know.",
    "Sure!",
    "Here is the answer to your question.",
    "I'm sorry, but I can't help with that.",
    "That is a great question, and there are many ways to look at it.",
    "This response was written with care and aims to be as useful as possible to the reader.",
    "As an AI language model, I do not have personal opinions or beliefs.",
    "Thanks for reaching out! We will get back to you soon.",
    "Please find the requested information below.",
    "Okay.",
    "I have carefully considered your request and done my very best to answer it in full.",
    "There are several aspects to this, all of which are interesting in their own way.",
    "N/A",
    "The best answer is the one that satisfies you.",
)
FILLERS = (
    "It should also be noted that many people have different views on this.",
    "Of course, a lot more might be added here, but this should be enough for now.",
    "All things considered, the matter is both simple and complex.",
    "One could go on about this for quite some time.",
    "It goes without saying that the above is only one way of seeing things.",
    "If anything is unclear, do not hesitate to reach out at any time.",
    "Thank you for taking the time to read through all of this.",
    "I trust that you will find this response to be of value.",
    "Naturally, the specifics will vary from case to case.",
    "As you can see, there is plenty to think about in this regard.",
    "To put it differently, what has been said so far remains true.",
    "This is something that deserves to be taken seriously.",
    "At the end of the day, it all comes down to what works for you.",
    "Let me know whether there is something else that I can do.",
    "Broadly speaking, these are the main things one would want to know.",
    "It is always a good idea to do some further reading on one's own.",
    "Many experts would probably agree with most of what is said here.",
    "Having said all that, it is time to bring this to a close.",
    "I am always happy to be of assistance with questions like this one.",
    "Such things are rarely black and white, and that is perfectly fine.",
    "The importance of this can hardly be overstated.",
    "We have now covered everything that needed to be covered.",
    "Hopefully this gives you a better sense of how things stand.",
    "And that, in a nutshell, is really all there is to it.",
)


def spoil(kind: str, text: str, rng: Random, foreign: str) -> str:
    """A worse version of an answer; `foreign` is an answer to another instruction."""
    match kind:
        case "null":
            return rng.choice(NULLS)
        case "padded":
            return padded(text, rng)
        case "repeated":
            return repeated(text, rng)
        case "truncated":
            return truncated(text, rng)
        case "foreign":
            return foreign
        case "salad":
            words = text.split()
            rng.shuffle(words)
            return " ".join(words)
    raise ValueError(f"no such control: {kind}")


def padded(text: str, rng: Random) -> str:
    """Filler until it is a tenth to one and a half times longer, at the end or at the beginning."""
    wanted, filler = rng.choice((0.1, 0.3, 0.5, 1.0, 1.5)) * len(text), ""
    while len(filler) < wanted:
        sentences = rng.sample(FILLERS, rng.randint(2, 8))
        filler += " ".join(sentences) + rng.choice((" ", "\n\n"))
    return f"{filler}\n\n{text}" if rng.random() < 0.1 else f"{text}\n\n{filler.strip()}"


def repeated(text: str, rng: Random) -> str:
    """The whole, the last paragraph or the last sentence said again, once or more."""
    how = rng.random()
    if how < 0.5:
        return rng.choice(("\n\n", "\n", " ")).join([text] * rng.choice((2, 2, 2, 3)))
    last = text.split("\n\n" if how < 0.8 else ". ")[-1]
    return rng.choice(("\n\n", " ")).join([text] + [last] * rng.randint(1, 4))


def truncated(text: str, rng: Random) -> str:
    """The first 15% to 80%, cut anywhere, at a word, or at a sentence."""
    cut = text[: max(1, int(len(text) * rng.uniform(0.15, 0.8)))]
    how = rng.random()
    if how < 0.3:
        return cut
    end = cut.rfind(" ") if how < 0.6 else max(cut.rfind(". ") + 1, cut.rfind("\n"))
    return cut[:end].rstrip() if end > len(cut) / 3 else cut
