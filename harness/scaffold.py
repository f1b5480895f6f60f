"""`harness new-method`: a package with one small method that works, to be changed."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from harness import registry
from harness.errors import HarnessError

TEMPLATES = Path(__file__).parent / "templates" / "new_method"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new_method(name: str, out: Path | None) -> Path:
    """Write the package of a method to a new folder, `harness-NAME` unless `out` says another.

    HarnessError where the name is no name or is taken, and where the folder exists.
    """
    if not NAME.fullmatch(name):
        raise HarnessError(
            f"{name!r} is no name for a method: write small letters and digits with single hyphens "
            "between them, a letter first, such as 'my-dpo'."
        )
    if name in registry.names(registry.METHODS):
        taken = registry.find(registry.METHODS, name)
        raise HarnessError(f"The name '{name}' is taken by {taken.origin}; choose another.")
    package = f"harness-{name}"
    folder = out or Path(package)
    if folder.exists():
        raise HarnessError(f"{folder} exists; give another folder with --out, or remove it.")
    # a prefix and a suffix, so that no name is a keyword or another module's
    module, cls = package.replace("-", "_"), f"{_camel(name.removesuffix('-method'))}Method"
    filled = {"name": name, "package": package, "module": module, "cls": cls}
    for template, target in (
        ("pyproject.toml", "pyproject.toml"),
        ("README.md", "README.md"),
        ("method.py", f"src/{module}.py"),
        ("test_method.py", f"tests/test_{module}.py"),
    ):
        text = (TEMPLATES / f"{template}.tmpl").read_text("utf-8")
        file = folder / target
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(text).substitute(filled), "utf-8")
    return folder


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))
