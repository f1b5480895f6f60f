"""Pages out of templates: everything escaped, one style and one script, both known by digest."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness.codec import write_atomic
from reports.style import DARK

if TYPE_CHECKING:
    from jinja2 import Template

# Control characters are not allowed in HTML, lone surrogates not in UTF-8, and characters that turn
# the direction of writing would hide what a model wrote.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def legible(text: str) -> str:
    """The text with a replacement character for each one that a page cannot or must not hold."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)


def template(name: str, *, autoescape: bool = True) -> Template:
    """One of the house's templates; only Markdown has no use for HTML's escapes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def render(name: str, **context: object) -> str:
    """A page by its template, with the house's style and script under a Content-Security-Policy
    that lets nothing else act and nothing be fetched."""
    style, script = _style(), _file("report.js")
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    page = template(name).render(
        # the house's own files, of which nothing is anybody's input
        style=Markup(style),
        script=Markup(script),
        policy=policy,
        **context,
    )
    return legible(page.lstrip())


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)


@cache
def _file(name: str) -> str:
    return (files("reports") / "templates" / name).read_text(encoding="utf-8")


@cache
def _style() -> str:
    """The style sheet, and what figures look like in dark mode."""
    dark = "".join(
        f'svg [fill="{light.lower()}"]{{fill:{colour}}}'
        f'svg [stroke="{light.lower()}"]{{stroke:{colour}}}'
        for light, colour in DARK.items()
    )
    return f"{_file('style.css')}@media (prefers-color-scheme: dark) {{{dark}}}"


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
