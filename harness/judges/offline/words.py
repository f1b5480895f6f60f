"""Words and phrases that the offline judge counts. All lower case."""

from __future__ import annotations

_STOPWORDS = (
    "a about above after again all also am an and any are as at be because been before being both "
    "but by can could did do does doing down during each few for from further had has have having "
    "he her here hers him his how i if in into is it its itself just may me might more most must "
    "my no nor not now of off on once one only or other our out over own same she "
    "should so some such than that the their them then there these they this those through "
    "to too under until up us very was we were what when where which while who whom why "
    "will with would you your it's i'm don't doesn't that's you're can't"
)
STOPWORDS = frozenset(_STOPWORDS.split())
_CONNECTIVES = (
    "however additionally moreover furthermore therefore overall finally instead although while "
    "because since thus firstly secondly first second next then conclusion summary example "
    "specifically similarly ultimately"
)
CONNECTIVES = tuple(_CONNECTIVES.split())
_HEDGES = (
    "might may perhaps possibly generally typically often sometimes likely could seems probably "
    "usually maybe"
)
HEDGES = tuple(_HEDGES.split())
OPENINGS = (
    *("sure", "certainly", "of course", "absolutely", "here is", "here are", "here's"),
    *("as an ai", "i'm sorry", "i am sorry", "sorry", "i apologize", "unfortunately", "i cannot"),
    *("i can't", "i don't", "i do not", "i am", "i'm", "i would", "i ", "yes", "no", "thank you"),
    *(
        "there are",
        "it is",
        "it's",
        "this",
        "to ",
        "the ",
        "title",
        "dear",
        "hello",
        "hi",
        "based on",
    ),
    *("in ", "a ", "when", "if ", "creating", "step", "great", "okay", "one "),
)
CLOSINGS = (
    *("let me know", "feel free", "i hope", "hope this helps", "if you have any", "happy to"),
    *("would you like", "please provide", "good luck", "enjoy", "best regards", "sincerely"),
    *("in conclusion", "in summary", "overall", "remember", "by following", "is important to"),
)
REFUSALS = (
    *(
        "as an ai",
        "language model",
        "i cannot",
        "i can't",
        "i can not",
        "i'm unable",
        "i am unable",
    ),
    *("i'm not able", "i am not able", "i do not have", "i don't have", "i'm sorry", "i am sorry"),
    *("i apologize", "cannot provide", "can't provide", "not appropriate", "could you please"),
    *("please provide", "more information", "more context", "i'm not sure", "i do not know"),
)
FILLERS = (
    *(
        "it is important to",
        "it's important to",
        "important to note",
        "worth noting",
        "keep in mind",
    ),
    *("as mentioned", "as always", "in the end", "at the end of the day", "of course"),
    *("that being said", "all in all", "needless to say", "feel free", "i hope this"),
    *("depends on", "in general", "as stated above", "don't hesitate", "thank you for"),
)
VERBS = {
    "write": ("write", "create", "compose", "generate", "draft", "make", "design", "come"),
    "explain": ("explain", "describe", "discuss", "why", "how", "what's", "tell"),
    "fact": ("what", "who", "when", "where", "which", "is", "are", "do", "does", "can"),
    "edit": (
        "rewrite",
        "edit",
        "summarize",
        "translate",
        "convert",
        "given",
        "classify",
        "extract",
    ),
    "list": ("give", "list", "suggest", "provide", "name", "find"),
    "person": ("i", "i'm", "my", "hi", "hello", "please", "you", "act"),
}
_NUMBERS = "one two three four five six seven eight nine ten"
COUNTS = {word: n for n, word in enumerate(_NUMBERS.split(), start=1)} | {
    "twelve": 12,
    "fifteen": 15,
    "twenty": 20,
}
