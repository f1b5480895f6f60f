"""Sampling and log-probabilities by transformers, on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedModel

from harness.engines.attention import use_own_attention
from harness.engines.decoding import Decoding, Row, pad_left, positions
from harness.engines.logprobs import all_logprobs
from harness.engines.packing import Row as ScoredRow
from harness.errors import HarnessError
from harness.models.chat import ChatTokenizer, check_context, context_length
from harness.models.linear import pack_weights
from harness.models.load import load_model, pick_device
from harness.types import Completion, Prompt, SampleSpec

_TOKENS = 2**12
"""Tokens that one forward pass without a cache may read; enough to keep any device busy."""


class TransformersEngine:
    """A model that answers prompts and gives the probabilities of answers.

    `batch_size` is the most rows in one batch; no result depends on it beyond float rounding. Where
    a GPU's memory is too small for it, it is halved, and `say` is told. Not thread-safe.
    """

    def __init__(
        self, model: PreTrainedModel, chat: ChatTokenizer, context: int, batch_size: int,
        say: Callable[[str], None] = print,
    ):  # fmt: skip
        self.chat = chat
        self.context_length = context
        self._batch_size = batch_size
        self._say = say
        self._model: PreTrainedModel | None = model
        use_own_attention(model)

    @classmethod
    def load(
        cls, path: Path, *, device: Literal["auto", "cpu", "cuda"] = "auto", batch_size: int,
        say: Callable[[str], None] = print,
    ) -> TransformersEngine:  # fmt: skip
        """The engine of a model folder; HarnessError when the folder or the device is unusable."""
        chat = ChatTokenizer.load(path)
        model = load_model(path, pick_device(device))
        pack_weights(model)
        return cls(model, chat, context_length(path), batch_size, say)

    def close(self) -> None:
        """Give the model's memory back; nothing but `chat` works afterwards."""
        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def check_context(self, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
        """HarnessError naming the first prompt that leaves too little room for an answer."""
        check_context(self.chat, self.context_length, prompts, max_new_tokens)

    def sample(self, prompts: Sequence[Prompt], spec: SampleSpec) -> Iterator[Completion]:
        """`spec.samples` completions of each prompt, in the order in which they finish.

        The longest prompts come first, and others as places in the batch become free. HarnessError
        (before anything is sampled) when a prompt does not fit.
        """
        self.check_context(prompts, spec.max_new_tokens)
        rows = [
            Row(prompt, ids, sample)
            for prompt, ids in ((prompt, self.chat.prompt_ids(prompt)) for prompt in prompts)
            for sample in range(spec.samples)
        ]
        return self._sample(rows, spec)

    def _sample(self, rows: list[Row], spec: SampleSpec) -> Iterator[Completion]:
        while rows:
            finished: set[int] = set()
            decoding = Decoding(
                self._loaded(), rows, spec, self.chat.stop_ids, self.chat.pad_id, self._batch_size
            )
            try:
                for row in decoding.finished():
                    finished.add(id(row))
                    yield self._completion(row, spec)
            except torch.OutOfMemoryError as error:
                if self._batch_size == 1:
                    raise HarnessError(
                        "the device's memory is too small for one completion of at most "
                        f"{spec.max_new_tokens} tokens; lower max_new_tokens or take a smaller "
                        "model."
                    ) from error
            del decoding  # and its memory
            rows = [
                Row(row.prompt, row.prompt_ids, row.sample)
                for row in rows
                if id(row) not in finished
            ]
            if rows:
                self._halve()

    def _halve(self) -> None:
        self._batch_size //= 2
        self._say(
            f"out of memory: going on with {self._batch_size} completions at a time "
            "(sampling.batch_size)"
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _completion(self, row: Row, spec: SampleSpec) -> Completion:
        return Completion(
            prompt_id=row.prompt.id,
            sample=row.sample,
            text=self.chat.decode(row.tokens),
            token_ids=tuple(row.tokens),
            finish_reason="stop" if row.stopped else "length",
            source=spec.source,
        )

    def logprobs(self, items: Sequence[tuple[Prompt, Completion]]) -> list[tuple[float, int]]:
        """For each item the completion's summed log-probability (nats, float32) and its tokens.

        At temperature 1, the end of the turn included. HarnessError when an item is too long.
        """
        rows = []
        for prompt, completion in items:
            before = self.chat.prompt_ids(prompt)
            ids = (*before, *self.chat.completion_ids(completion))
            if len(ids) > self.context_length:
                raise HarnessError(
                    f"prompt '{prompt.id}' and its completion have {len(ids)} tokens, more than "
                    f"the model's context of {self.context_length}; shorten them."
                )
            rows.append(ScoredRow(ids, len(before)))
        found = all_logprobs(self._loaded(), rows, _TOKENS)
        return list(zip(found.sums.tolist(), found.lengths.tolist(), strict=True))

    def next_token_probs(
        self, prompts: Sequence[Prompt], continuation: str, candidates: Sequence[str]
    ) -> list[tuple[float, ...]]:
        """For each prompt the probabilities with which each candidate comes next, in order.

        The assistant's turn has begun with `continuation`. Candidates are single tokens as they
        come in running text: `continuation + candidate` is tokenised as a whole, so that both
        ways of writing a space (a token of its own, or the candidate token's first character)
        give the ids that the model knows. Not renormalised: they sum to less than 1.
        HarnessError when a candidate is not one token, or a prompt does not fit.
        """
        opening, tokens = self._opening(continuation, candidates)
        self.check_context(prompts, len(opening) + 1)
        rows = [[*self.chat.prompt_ids(prompt), *opening] for prompt in prompts]
        results: list[tuple[float, ...]] = [()] * len(rows)
        for batch in self._batches([len(row) for row in rows]):
            for index, probs in zip(
                batch, self._next([rows[i] for i in batch], tokens), strict=True
            ):
                results[index] = tuple(probs)
        return results

    def _opening(self, continuation: str, candidates: Sequence[str]) -> tuple[list[int], list[int]]:
        """The ids before the candidates' tokens, and those tokens."""
        wholes = [self.chat.text_ids(continuation + candidate) for candidate in candidates]
        opening = wholes[0][:-1]
        tokens = [ids[-1] for ids in wholes]
        if any(ids[:-1] != opening for ids in wholes) or len(set(tokens)) < len(tokens):
            raise HarnessError(
                f"{', '.join(map(repr, candidates))} are not single distinct tokens of this model "
                f"after {continuation!r}; use another judge, model or set of candidates."
            )
        return opening, tokens

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices of rows of so many tokens in batches, the longest first."""
        order = sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True)
        batch: list[int] = []
        for index in order:
            rows = len(batch) + 1
            if batch and (rows > self._batch_size or rows * lengths[batch[0]] > _TOKENS):
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    @torch.inference_mode()
    def _next(self, rows: Sequence[list[int]], tokens: list[int]) -> list[list[float]]:
        model = self._loaded()
        ids, mask = pad_left(rows, self.chat.pad_id, model.device)
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask),
            use_cache=False, logits_to_keep=1,
        ).logits  # fmt: skip
        found: list[list[float]] = logits[:, -1].float().softmax(-1)[:, tokens].tolist()
        return found

    def _loaded(self) -> PreTrainedModel:
        if self._model is None:
            raise RuntimeError("the engine was closed")
        return self._model
