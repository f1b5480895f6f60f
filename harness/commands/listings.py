"""Commands that say what there is: `harness methods`, `harness models`, `harness doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands.options import Json, Quiet, print_json, print_tables


def methods(as_json: Json = False) -> None:
    """List the methods: paper, declared plan, settings, and where each was loaded from.

    Example: harness methods --json
    """
    from harness import show

    listed = show.method_dicts()
    if as_json:
        print_json(listed)
    else:
        print_tables(show.method_tables(listed))


def models_list(as_json: Json = False) -> None:
    """List the embedded models and where they are kept.

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
    name: Annotated[str, typer.Argument(help="An embedded model, such as smollm2-135m.")],
    quiet: Quiet = False,
) -> None:
    """Fetch an embedded model and keep it under HARNESS_HOME.

    Example: harness models pull smollm2-135m
    """
    from harness.models.store import pull
    from harness.progress import Reporter

    typer.echo(pull(name, Reporter(quiet).say))


def doctor(
    model: Annotated[
        str | None, typer.Option(help="Look at this model's chat template, too.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Ask this server, too: MODEL or MODEL@BASE_URL.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check versions, folders, data, judges and their licences; exit 1 where there is a problem.

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
