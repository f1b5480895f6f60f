"""How help is laid out: under headings, with examples that can be copied. typer's own headings need
rich, which takes longer to load than the help to print."""

from __future__ import annotations

import re
from collections.abc import Iterable
from inspect import cleandoc
from textwrap import wrap
from typing import Any, ClassVar

from typer.core import TyperCommand, TyperGroup

RUN, JUDGE, READ, METHODS, SETUP = (
    "Train and score",
    "Judge",
    "Read results",
    "Methods",
    "Set up",
)
"""Headings of commands."""
WHAT, JUDGING, WHERE, OTHER = "What to run", "Judging", "Where", "Other options"
"""Headings of options."""
FEW = 9
"""So many options need no headings."""


class Command(TyperCommand):
    """A command whose help has its options under their headings."""

    def format_help_text(self, _ctx: Any, formatter: Any) -> None:
        _write_text(formatter, self.help or "")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        params = [(param, param.get_help_record(ctx)) for param in self.get_params(ctx)]
        arguments = [
            record and (param.metavar or record[0], record[1])
            for param, record in params
            if param.param_type_name == "argument"
        ]
        options = [(param, record) for param, record in params if param.param_type_name == "option"]
        few = len(options) <= FEW
        under = [
            ("Options" if few else _heading(param, OTHER), record) for param, record in options
        ]
        _write(formatter, [*(("Arguments", record) for record in arguments), *under])


class Group(TyperGroup):
    """A group whose help has its commands under their headings."""

    def format_help_text(self, _ctx: Any, formatter: Any) -> None:
        _write_text(formatter, self.help or "")

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        rows = [
            (_heading(command, "Commands"), (name, command.get_short_help_str(formatter.width)))
            for name, command in self.commands.items()
        ]
        _write(formatter, rows)


class DefaultGroup(Group):
    """A group in which the command `default` may be left out; an argument that is called as one of
    its commands is `./NAME`."""

    default: ClassVar[str]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and args[0] in {*self.commands, *ctx.help_option_names}
        if not named and not (ctx.resilient_parsing and not args):  # a shell asks what there is
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def _write_text(formatter: Any, text: str) -> None:
    """Paragraphs; an example keeps its words together, and goes on after a backslash."""
    for paragraph in cleandoc(text).split("\n\n"):
        formatter.write_paragraph()
        with formatter.indentation():
            if not paragraph.startswith("Example: "):
                formatter.write_text(paragraph)
                continue
            words = re.sub(r"(-\S+)\s+(?!-)", "\\1\0", paragraph)  # an option and its value
            lines = wrap(words, formatter.width - 6, break_on_hyphens=False)
            indent = " " * formatter.current_indent
            example = f" \\\n{indent}  ".join(lines).replace("\0", " ")
            formatter.write(f"{indent}{example}\n")


def _heading(of: Any, without: str) -> str:
    heading = of.rich_help_panel  # typer's: this, or its "not given"
    return heading if isinstance(heading, str) else without


def _write(formatter: Any, rows: Iterable[tuple[str, tuple[str, str] | None]]) -> None:
    """Each heading with its rows, in the order in which they come; what is hidden has no row."""
    headed: dict[str, list[tuple[str, str]]] = {}
    for heading, row in rows:
        if row:
            headed.setdefault(heading, []).append(row)
    if OTHER in headed:
        headed[OTHER] = headed.pop(OTHER)  # last
    for heading, found in headed.items():
        with formatter.section(heading):
            formatter.write_dl(found)
