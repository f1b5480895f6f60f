"""Commands that say what there is: `harness methods`, `harness models`, `harness doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands import complete
from harness.commands.layout import DefaultGroup
from harness.commands.options import Json, Quiet, print_json, print_tables


class ListByDefault(DefaultGroup):
    """`harness models` is `harness models list`."""

    default = "list"


def methods(as_json: Json = False) -> None:
    """List the methods: paper, plan, settings, where each comes from.

    Example: harness methods
    """
    from harness import show

    listed = show.method_dicts()
    if as_json:
        print_json(listed)
    else:
        print_tables(show.method_tables(listed))


def models() -> None:
    """List the embedded models, or fetch one.

    Example: harness models

    Example: harness models pull smollm2-135m
    """


def models_list(as_json: Json = False) -> None:
    """List the embedded models; the word list may be left out.

    Example: harness models list
    """
    from harness import show
    from harness.models.store import list_models

    infos = list_models()
    if as_json:
        print_json(show.model_dicts(infos))
    else:
        print_tables([show.model_table(infos)])


def models_pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An embedded model, such as smollm2-135m.",
            autocompletion=complete.models,
        ),
    ],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fetch an embedded model, and say where it is kept.

    That is under HARNESS_HOME.

    Example: harness models pull smollm2-135m
    """
    from harness.models.store import pull
    from harness.progress import Reporter

    path = pull(name, Reporter(quiet).say)
    if as_json:
        print_json({"model": name, "where": str(path)})
    else:
        typer.echo(path)


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Look at this model's chat template, too.",
            autocompletion=complete.models,
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="MODEL[@URL]", help="Ask this server, too."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check versions, folders, data, models and judges.

    Ends with exit code 1 where there is a problem. Nothing is downloaded.

    Example: harness doctor --model smollm2-135m --endpoint my-model@http://127.0.0.1:8000/v1
    """
    from dataclasses import asdict

    from harness import show
    from harness.doctor import examine

    findings = examine(model, endpoint)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        print_tables([show.doctor_table(findings)])
    if any(finding.health == "problem" for finding in findings):
        raise typer.Exit(1)
