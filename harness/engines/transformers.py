"""Sampling and log-probabilities by transformers, on one device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.engines.attention import use_own_attention
from harness.engines.decoding import Decoding, Row, pad_left, positions
from harness.errors import HarnessError
from harness.models.chat import ChatTokenizer, check_context, context_length
from harness.models.load import load_model, pick_device
from harness.types import Completion, Prompt, SampleSpec

_LOGITS = 2**27
"""Logits that one forward pass may make where it needs more than the last (fp32: 512 MiB)."""

_TOKENS = 2**12
"""Tokens that one forward pass without a cache may read; enough to keep any device busy."""


class TransformersEngine:
    """A model that answers prompts and gives the probabilities of answers.

    `batch_size` is the most rows in one batch; no result depends on it beyond float rounding.
    Not thread-safe.
    """

    def __init__(self, model: PreTrainedModel, chat: ChatTokenizer, context: int, batch_size: int):
        self.chat = chat
        self.context_length = context
        self._batch_size = batch_size
        self._model: PreTrainedModel | None = model
        use_own_attention(model)

    @classmethod
    def load(
        cls, path: Path, *, device: Literal["auto", "cpu", "cuda"] = "auto", batch_size: int
    ) -> TransformersEngine:
        """The engine of a model folder; HarnessError when the folder or the device is unusable."""
        chat = ChatTokenizer.load(path)
        model = load_model(path, pick_device(device))
        return cls(model, chat, context_length(path), batch_size)

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

        Prompts of equal length go together, the longest first. HarnessError (before anything is
        sampled) when a prompt does not fit.
        """
        self.check_context(prompts, spec.max_new_tokens)
        rows = [
            Row(prompt, ids, sample)
            for prompt, ids in ((prompt, self.chat.prompt_ids(prompt)) for prompt in prompts)
            for sample in range(spec.samples)
        ]
        rows.sort(key=lambda row: -len(row.prompt_ids))
        return self._sample(rows, spec)

    def _sample(self, rows: list[Row], spec: SampleSpec) -> Iterator[Completion]:
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            decoding = Decoding(self._loaded(), batch, spec, self.chat.stop_ids, self.chat.pad_id)
            while decoding.live:
                for row in decoding.step():
                    yield Completion(
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
        pairs = [(self.chat.prompt_ids(p), self.chat.completion_ids(c)) for p, c in items]
        for (prompt, _), (before, after) in zip(items, pairs, strict=True):
            if len(before) + len(after) > self.context_length:
                raise HarnessError(
                    f"prompt '{prompt.id}' and its completion have {len(before) + len(after)} "
                    f"tokens, more than the model's context of {self.context_length}; shorten them."
                )
        results = [(0.0, 0)] * len(pairs)
        for batch in self._batches([(len(b) + len(a), len(a)) for b, a in pairs]):
            sums = self._sums([pairs[index] for index in batch])
            for index, total in zip(batch, sums, strict=True):
                results[index] = (total, len(pairs[index][1]))
        return results

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
        for batch in self._batches([(len(row), 1) for row in rows]):
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

    def _batches(self, sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
        """Indices in batches, longest first; sizes are (tokens, tokens whose logits are needed)."""
        order = sorted(range(len(sizes)), key=lambda index: sizes[index], reverse=True)
        batch: list[int] = []
        kept = 0
        for index in order:
            widest = sizes[batch[0] if batch else index][0]
            kept = max(kept, sizes[index][1])
            rows = len(batch) + 1
            full = rows > self._batch_size or rows * widest > _TOKENS
            if batch and (full or rows * (kept + 1) * self.chat.vocab_size > _LOGITS):
                yield batch
                batch, kept = [], sizes[index][1]
            batch.append(index)
        if batch:
            yield batch

    @torch.inference_mode()
    def _sums(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        """Summed log-probabilities of the second parts after the first, as one batch."""
        longest = max(len(after) for _, after in pairs)
        # The last `longest + 1` positions, less the very last, are those that predict answers.
        logits, ids = self._forward([before + after for before, after in pairs], longest + 1)
        predicted = logits[:, :-1].float()
        targets = ids[:, -longest:]
        logps = predicted.gather(-1, targets[..., None])[..., 0] - predicted.logsumexp(-1)
        lengths = torch.tensor([len(after) for _, after in pairs], device=ids.device)
        answer = torch.arange(longest, 0, -1, device=ids.device) <= lengths[:, None]
        return torch.where(answer, logps, 0.0).sum(-1).tolist()

    @torch.inference_mode()
    def _next(self, rows: Sequence[list[int]], tokens: list[int]) -> list[list[float]]:
        logits, _ = self._forward(rows, 1)
        return logits[:, -1].float().softmax(-1)[:, tokens].tolist()

    def _forward(self, rows: Sequence[list[int]], keep: int) -> tuple[Tensor, Tensor]:
        """Logits [rows, keep, vocabulary] of the last positions, and the ids [rows, longest]."""
        model = self._loaded()
        ids, mask = pad_left(rows, self.chat.pad_id, model.device)
        output = model(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask),
            use_cache=False, logits_to_keep=keep,
        )  # fmt: skip
        return output.logits, ids

    def _loaded(self) -> PreTrainedModel:
        if self._model is None:
            raise RuntimeError("the engine was closed")
        return self._model
