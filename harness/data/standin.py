"""What a plan counts with where the data are not here: so many prompts of such a size."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import HarnessError
from harness.types import Message, Prompt


@dataclass(frozen=True, slots=True)
class Size:
    """`count` prompts, and the mean characters of their instructions and of their gold answers."""

    count: int
    instruction: int
    gold: int


class NotHereError(HarnessError):
    """Data that would have to be fetched; `size` says what is known of them, if anything."""

    def __init__(self, name: str, sentence: str, size: Size | None) -> None:
        super().__init__(sentence)
        self.name, self.size = name, size

    def assume(self) -> tuple[list[Prompt], str]:
        """Stand-ins of that size, and the sentence that says so. Raises itself where nothing is
        known."""
        size = self.size
        if size is None:
            raise self
        texts = "x" * size.instruction, "x" * size.gold
        prompts = [
            Prompt(f"{self.name}/{n}", (Message("user", texts[0]),), texts[1], texts[1], self.name)
            for n in range(size.count)
        ]
        return prompts, (
            f"{self.name} is not here: {size.count:,} prompts of {size.instruction:,} characters "
            f"with answers of {size.gold:,} are assumed."
        )
