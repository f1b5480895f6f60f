"""Text to ids and back, as a model's own chat template has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.models.quiet import hush
from harness.types import Completion, Message, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARK = "\u2063answer\u2063"
"""Stands for an assistant's answer while the template is asked what it writes after one."""


class ChatTokenizer:
    """A model's tokenizer with its chat template.

    `end_of_turn` is the token that closes an assistant's turn; `stop_ids` are all the tokens that
    end a completion (it, and whatever else the model declares as an end); `pad_id` is any legal
    id to fill rows with: padding is masked by length, never by id, because many models
    (SmolLM2 among them) pad with the very token that ends a turn.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, where: str, stops: frozenset[int]):
        """`where` names the model in messages; `stops` are further ids that end a completion."""
        if not tokenizer.chat_template:
            raise HarnessError(
                f"{where} has no chat template, so prompts cannot be put to it; use an instruct "
                "model, or add a chat_template.jinja to its folder."
            )
        self._tokenizer = tokenizer
        self._where = where
        self.end_of_turn = self._find_end_of_turn()
        self.stop_ids = stops | {self.end_of_turn} | _ids(tokenizer.eos_token_id)
        self.pad_id = self.end_of_turn
        self.vocab_size = len(tokenizer)
        self._check_front()

    @classmethod
    def load(cls, path: Path) -> ChatTokenizer:
        """Read the tokenizer of a model folder; HarnessError when there is none to read."""
        from transformers import AutoTokenizer

        hush()
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                path, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise HarnessError(
                f"cannot read a tokenizer in {path} ({error}); point to a complete model folder."
            ) from error
        generation = path / "generation_config.json"
        settings = json.loads(generation.read_text("utf-8")) if generation.is_file() else {}
        return cls(tokenizer, str(path), _ids(settings.get("eos_token_id")))

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The template's own tokenisation, up to where the assistant is to speak.

        Nothing is prepended: where a template opens with the BOS token, it writes it itself.
        HarnessError when the template refuses the conversation, as some do with a system's turn.
        """
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        encoded = self._rendered(
            f"prompt '{prompt.id}'",
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )
        return list(encoded["input_ids"])

    def completion_ids(self, completion: Completion) -> list[int]:
        """The ids as sampled, else the text's ids and the end of the turn."""
        if completion.token_ids:
            return list(completion.token_ids)
        return [*self.text_ids(completion.text), self.end_of_turn]

    def text_ids(self, text: str) -> list[int]:
        """Plain text's ids: text that looks like a special token does not become one.

        A data set's answer holding `<|im_end|>` would otherwise end its own turn.
        """
        encoded: Any = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(encoded["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Text without special tokens, the end of the turn included."""
        text = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def _rendered(self, what: str, messages: list[dict[str, str]], **options: Any) -> Any:
        from jinja2 import TemplateError

        try:
            return self._tokenizer.apply_chat_template(messages, **options)
        except TemplateError as error:
            raise HarnessError(
                f"the chat template of {self._where} cannot take {what} ({error}); leave such "
                "turns out, or mend its chat_template.jinja."
            ) from error

    def _check_front(self) -> None:
        """Models have never seen their first token twice; a template writes it once too often where
        it was made for a tokenizer that adds none."""
        ids = self.prompt_ids(Prompt("", (Message("user", "question"),)))
        if ids[:1] == ids[1:2]:
            raise HarnessError(
                f"the chat template of {self._where} puts a token in front that is there already "
                f"({self._tokenizer.convert_ids_to_tokens(ids[0])!r} comes twice); take one of the "
                "two out of the template."
            )

    def _find_end_of_turn(self) -> int:
        """What the template writes after an answer; the tokenizer's EOS where that says nothing.

        Not simply the EOS: several families close a turn with another token (`<end_of_turn>`,
        `<|eot_id|>`, `<|end|>`).
        """
        conversation = [
            {"role": "user", "content": "question"},
            {"role": "assistant", "content": _MARK},
        ]
        rendered = self._rendered("a question and its answer", conversation, tokenize=False)
        tail = str(rendered).rpartition(_MARK)[2]
        encoded: Any = self._tokenizer(tail, add_special_tokens=False)
        special = set(self._tokenizer.added_tokens_decoder)
        for token in encoded["input_ids"]:
            if token in special:
                return int(token)
        for token in _ids(self._tokenizer.eos_token_id):
            return token
        raise HarnessError(
            f"neither the chat template nor the tokenizer of {self._where} says how a turn ends; "
            "set eos_token in its tokenizer_config.json."
        )


def context_length(path: Path) -> int:
    """The most tokens a row may hold, from a model folder's config.json; no weights are read."""
    config = json.loads((path / "config.json").read_text("utf-8"))
    length = config.get("text_config", config).get("max_position_embeddings")
    if length is None:
        raise HarnessError(
            f"{path / 'config.json'} has no max_position_embeddings; add the model's context "
            "length there."
        )
    return int(length)


def check_context(
    chat: ChatTokenizer, length: int, prompts: Sequence[Prompt], max_new_tokens: int
) -> None:
    """HarnessError naming the first prompt that leaves no room for `max_new_tokens` in `length`."""
    for prompt in prompts:
        tokens = len(chat.prompt_ids(prompt))
        if tokens + max_new_tokens > length:
            raise HarnessError(
                f"prompt '{prompt.id}' has {tokens} tokens, which with {max_new_tokens} new ones "
                f"exceeds the model's context of {length}; shorten it or lower max_new_tokens."
            )


def _ids(value: int | list[int] | None) -> frozenset[int]:
    """A config's token id, ids or nothing, as a set."""
    if value is None:
        return frozenset()
    return frozenset([value] if isinstance(value, int) else value)
