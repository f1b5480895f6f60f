"""What mkdocs does beside Markdown: pages of the repository's root join the site, links to files
that are no pages become text, and `<!-- generate: NAME -->` becomes what the code says."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]

ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "leaderboards/README.md": "leaderboards.md",
}
"""Pages that lie where readers of the repository look for them, and where the site has them."""

FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.M | re.S)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
GENERATE = re.compile(r"^<!-- generate: (\w+) -->$", re.M)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, uri in ELSEWHERE.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page's own links are those of the repository; code blocks are left alone."""
    uri = page.file.src_uri
    said = GENERATE.sub(lambda found: reference.GENERATORS[found[1]](), markdown)
    source = {site: repository for repository, site in ELSEWHERE.items()}.get(uri, f"docs/{uri}")
    parts, last = [], 0
    for fence in FENCE.finditer(said):
        parts += [_relinked(said[last : fence.start()], source, uri), fence[0]]
        last = fence.end()
    return "".join([*parts, _relinked(said[last:], source, uri)])


def _relinked(text: str, source: str, uri: str) -> str:
    """`source` is the page's path in the repository, `uri` its place in the site."""

    def link(found: re.Match[str]) -> str:
        image, words, path, anchor = found[1], found[2], found[3], found[4] or ""
        if not path or ":" in path:
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if target in ELSEWHERE or target.startswith("docs/"):
            place = ELSEWHERE.get(target, target.removeprefix("docs/"))
            relative = posixpath.relpath(place, posixpath.dirname(uri) or ".")
            return f"{image}[{words}]({relative}{anchor})"
        # a file of the repository is named, not linked; one that is not there stays, as an error
        return words if (ROOT / target).exists() else found[0]

    return LINK.sub(link, text)
