"""The reference, as Markdown from the code: commands, settings, presets, methods, judges."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from typer.core import TyperGroup

from harness import calibrations, config, registry, show
from harness.cli import app
from harness.config import RESUMABLE, RunConfig
from harness.show_judges import as_dicts

DISTRIBUTION = "posttrain-harness"

# --- commands ---------------------------------------------------------------------------------


def commands() -> str:
    """Every command: what its docstring says, usage, arguments, options."""
    root: Any = typer.main.get_command(app)
    found = list(_commands(root, typer.Context(root, info_name="harness")))
    overview = [
        (f"[{_code(path)}](#{path.replace(' ', '-')})", _text(command.get_short_help_str(200)))
        for command, context in found
        for path in (context.command_path,)
    ]
    return "\n".join(
        [
            f"{_text(inspect.cleandoc(root.epilog or ''))}\n",
            table(("command", "what it does"), overview),
            *(part for command, context in found for part in _command(command, context)),
        ]
    )


def _commands(group: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = typer.Context(command, info_name=name, parent=context)
        if command.hidden:
            continue
        if isinstance(command, TyperGroup):
            yield from _commands(command, inner)
        else:
            yield command, inner


def _command(command: Any, context: Any) -> Iterator[str]:
    yield f"## `{context.command_path}`\n"
    text, *examples = re.split(r"\s*Example: ", inspect.cleandoc(command.help or ""))
    yield f"{_text(text)}\n"
    usage = f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}"
    yield "\n".join(["```sh", *(" ".join(example.split()) for example in examples), "```\n"])
    yield f"Usage: {_code(usage)}\n"
    rows = [
        row
        for parameter in command.get_params(context)
        if parameter.name != "help" and (row := parameter.get_help_record(context))
    ]
    if rows:
        yield table(("option", "meaning"), ((_code(name), _text(says)) for name, says in rows))


# --- settings ---------------------------------------------------------------------------------


def settings() -> str:
    """Every setting of a run, by group."""
    groups = {
        name: kind for name, field in RunConfig.model_fields.items() if (kind := _group(field))
    }
    parts = ["## A run\n", *_settings(RunConfig, "")]
    for name, kind in groups.items():
        parts += [f"## `{name}`\n", f"{_text(inspect.getdoc(kind) or '')}\n"]
        parts += _settings(kind, f"{name}.")
    return "\n".join(parts)


def _group(field: Any) -> type[BaseModel] | None:
    kinds = get_args(field.annotation) or (field.annotation,)
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _settings(model: type[BaseModel], prefix: str) -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        inner = _group(field)
        if inner and not prefix:
            continue  # a heading of its own
        if inner:
            # a group in a group: its settings stand beside the others
            says = (inspect.getdoc(inner) or "").removesuffix(".")
            rows.append((_code(prefix + name), "group or null", "`null`", _text(says)))
            rows += _rows(inner, f"{prefix}{name}.")
        else:
            rows += _rows(model, prefix, only=name)
    yield table(("setting", "type", "default", "meaning"), rows)


def _rows(model: type[BaseModel], prefix: str, only: str = "") -> list[tuple[str, ...]]:
    return [
        (
            _code(prefix + name) + (" ↻" if field.json_schema_extra == RESUMABLE else ""),
            _type(field.annotation, field.metadata),
            "required" if field.is_required() else _code(_value(field.default)),
            _text(field.description or ""),
        )
        for name, field in model.model_fields.items()
        if only in ("", name)
    ]


def _type(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """In words: an integer over 0, one of `a`, `b`, or null."""
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(_code(value) for value in get_args(annotation))
    if get_origin(annotation) in (types.UnionType, Union):
        return " or ".join(_type(kind) for kind in get_args(annotation))
    if hasattr(annotation, "__metadata__"):  # Annotated
        base, *extra = get_args(annotation)
        return _type(base, [m for e in extra for m in getattr(e, "metadata", [])])
    bounds = [
        f"{sign} {getattr(bound, name):g}"
        for bound in metadata
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if hasattr(bound, name)
    ]
    words = {
        bool: "true or false",
        int: "integer",
        float: "number",
        str: "text",
        type(None): "null",
    }
    name = words.get(annotation, "texts" if get_origin(annotation) is tuple else "mapping")
    return " ".join([name, *([", ".join(bounds)] if bounds else [])])


def _value(value: Any) -> str:
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"
    )


def presets() -> str:
    """What each preset sets, and the files as they are."""
    found = {name: dict(_flat(config.preset(name))) for name in config.preset_names()}
    order = [name.replace("settings", "method", 1) for name in config.field_names()]
    names = sorted(
        {name for values in found.values() for name in values},
        key=lambda name: order.index(name.partition(".")[0] if "method" in name else name),
    )
    rows = [
        (_code(name), *(_code(_value(v[name])) if name in v else "" for v in found.values()))
        for name in names
    ]
    parts = [table(("setting", *map(_code, found)), rows)]
    for name in found:
        text = (files("harness") / "presets" / f"{name}.yaml").read_text("utf-8")
        parts.append(f"### `{name}`\n\n```yaml\n{text}```\n")
    return "\n".join(parts)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{'method' if name == 'settings' else name}.")
        else:
            yield f"{prefix}{name}", value


# --- plugins ----------------------------------------------------------------------------------


def methods() -> str:
    """This project's own methods; what else is installed here is not its documentation's."""
    return "\n".join(
        part
        for listed in show.method_dicts()
        if listed["name"] in _own(registry.METHODS)
        for part in _method(listed)
    )


def _method(listed: Mapping[str, Any]) -> Iterator[str]:
    cls = registry.find(registry.METHODS, listed["name"]).cls
    yield f"## `{listed['name']}`\n"
    yield re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", listed["paper"])
    yield f"\n{_text(inspect.getdoc(cls) or '')}\n"
    yield "**Plan.** " + _text("; ".join(show.plans_text(listed["plans"]).splitlines())) + ".\n"
    yield (
        "**Training defaults.** "
        + ", ".join(
            f"{name.replace('_', ' ').replace('lora', 'LoRA')} {_value(value)}"
            for name, value in listed["defaults"].items()
        )
        + ".\n"
    )
    rows = [(_code(f"method.{name}"), _code(_value(v))) for name, v in listed["settings"].items()]
    if rows:
        yield table(("setting", "default"), rows)
    yield from _source(cls)


def judges() -> str:
    """This project's own judges, with their calibration where there is one."""
    own = _own(registry.JUDGES)
    return "\n".join(p for j in as_dicts() if j["name"] in own for p in _judge(j))


def _judge(listed: Mapping[str, Any]) -> Iterator[str]:
    cls = registry.find(registry.JUDGES, listed["name"]).cls
    needs = "" if "identity" in listed else ":MODEL[@URL]"
    yield f"## `{listed['name']}`\n"
    yield f"{_text(inspect.getdoc(cls) or '')}\n"
    yield f"Written `{listed['name']}{needs}`."
    if "identity" in listed:
        yield f"Its identity is `{listed['identity']}`; it {listed['kind']} answers"
        yield "and leans on the gold answer.\n" if listed["reference_based"] else "by themselves.\n"
        if listed["calibration"]:
            yield f"{_text(calibrations.sentence(listed['identity']))}\n"
    yield ""
    yield from _source(cls)


def _own(group: str) -> set[str]:
    found = entry_points(group=group)
    return {entry.name for entry in found if entry.dist and entry.dist.name == DISTRIBUTION}


def _source(cls: type) -> Iterator[str]:
    """The whole file, folded: a method is read in one sitting."""
    path = Path(inspect.getfile(cls))
    place = path.relative_to(Path(registry.__file__).resolve().parents[1])
    code = path.read_text("utf-8").rstrip()
    block = "\n".join(f"    {line}".rstrip() for line in ["~~~~python", *code.split("\n"), "~~~~"])
    yield f'??? quote "{place.as_posix()}"\n\n{block}\n'


# --- Markdown ---------------------------------------------------------------------------------


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(head)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _code(text: object) -> str:
    return f"`{text}`"


def _text(text: str) -> str:
    """Docstrings are Markdown as far as backticks go; stars and angles are meant as they stand."""
    spans = re.split(r"(`+[^`]*`+)", text)
    return "".join(s if s.startswith("`") else re.sub(r"([*_<\[\]|])", r"\\\1", s) for s in spans)


GENERATORS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "presets": presets,
    "methods": methods,
    "judges": judges,
}
