"""A random two-layer Llama and its tokenizer, made on the spot: for tests and dry runs.

It knows nothing, but it is a whole instruct model: chat template, stop token, tied embeddings,
grouped-query attention, and next-token distributions that are neither uniform nor degenerate.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.models.quiet import hush

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NAME = "tiny"
LICENCE = "Apache-2.0"
_SEED = 20240404
_VOCABULARY = 600
_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
    "+ message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TEXT = """\
Please write a short answer to the question below, and explain your reasons step by step.
What is the capital of France? The capital of France is Paris, which lies on the river Seine.
How do I bake bread? Mix flour, water, salt and yeast, let the dough rise for two hours, and bake
it in a hot oven until the crust is brown. Which planets have rings? Saturn, Jupiter, Uranus and
Neptune all have rings, but those of Saturn are by far the brightest. Summarise the following text
in one sentence. Here are three ideas that could help you: first, make a list of the things that
you want to do; second, decide which of them matter most; third, begin with the easiest one.
Write a poem about the sea. The waves come in, the waves go out, the wind is singing all about.
I would like to know the difference between a frog and a toad. A frog has smooth, wet skin and
long legs, while a toad has dry skin with bumps and shorter legs. Translate this sentence, please.
Can you give me some advice about learning a new language? Practise a little every day, listen to
people who speak it well, and do not be afraid of making mistakes; they are how everybody learns.
The number of people in the town has grown from one thousand to more than twenty thousand because
of the new railway. There is no simple answer to this, and it depends on what you are looking for.
"""


def build(folder: Path, say: Callable[[str], None]) -> None:
    """Write the model into the existing, empty `folder`; the same bytes every time."""
    say(f"{NAME}: making a random two-layer model")
    hush()
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    _model(tokenizer).save_pretrained(folder)
    facts = {"model": "random two-layer Llama", "licence": LICENCE, "seed": _SEED}
    (folder / "provenance.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


def _tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level BPE: any text round-trips; ids 0, 1, 2 are pad, start and end of a turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT.splitlines(keepends=True), trainer)
    fast: Any = PreTrainedTokenizerFast  # Any: transformers leaves its constructors untyped
    wrapped: PreTrainedTokenizerBase = fast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
    return wrapped


def _model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    llama: Any = LlamaForCausalLM
    with torch.random.fork_rng(devices=[]):  # building a model draws from the global stream
        model: PreTrainedModel = llama(config)
    stream = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.dim() == 2:
                # Layers must outweigh the embeddings in the residual stream, or else the tied
                # output head repeats the token that it has just read.
                scale = 0.2 if "embed_tokens" in name else 0.25
                weight.normal_(0.0, scale, generator=stream)
        # A longer row means a logit of larger spread: likely in some contexts, rare in most.
        embeddings: Any = model.get_input_embeddings()
        embeddings.weight[tokenizer.eos_token_id] *= 2.0
    return model
