"""The fenced blocks of the documentation: language, text, and the reason where one is not run."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SHELLS = ("bash", "sh", "console")
_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n+)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_COMMANDS = re.compile(r"^(?:\$ )?(?:orchestrate|make|mlflow|python3?|pip|source|ray|[A-Z_]+=\S+) ", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: File.
        line: Line of its first line.
        language: Word after the fence, empty without one.
        text: What stands in it.
        reason: Why it is not run, from ``<!-- not run: REASON -->`` in the line before it; empty where it is.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str

    @property
    def label(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The lines of a shell block as words, comments left out, continued lines joined."""
        lines = re.sub(r"\\\n\s*", " ", self.text).splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page, text[: match.start("text")].count("\n") + 1, match["language"], match["text"], match["reason"] or ""
        )
        for match in _FENCE.finditer(text)
    ]


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in read_blocks(page) if block.language in languages]


def looks_like_commands(block: Block) -> bool:
    return not block.language and _COMMANDS.search(block.text) is not None
