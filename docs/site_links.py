"""Site hook: a link to a file outside docs/ works in the repository, not on the site; there only its text stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.resolve()
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links that lead out of the documentation by their text (called by mkdocs for every page)."""
    folder = Path(page.file.abs_src_path).parent

    def inside_only(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or (folder / target).resolve().is_relative_to(DOCS):
            return match[0]
        return f"`{match[1].strip('`')}`"

    return _LINK.sub(inside_only, markdown)
