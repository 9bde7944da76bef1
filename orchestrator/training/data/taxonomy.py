"""InstructLab taxonomies: folders of ``qna.yaml`` files with seed examples of knowledge and skills, as rows.

Three layouts occur. Versions 1 and 2 (a file without ``version`` is version 1) and the skills of version 3 list
``question``, ``answer`` and, where the skill is grounded, ``context``. The knowledge of version 3 lists contexts,
each with several ``questions_and_answers``. Schemas: https://github.com/instructlab/schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from orchestrator.errors import DataError, nearest
from orchestrator.spec.reading.yaml_text import PathKey, collect_lines
from orchestrator.training.data.files import Row

FILE_NAME = "qna.yaml"
VERSIONS = (1, 2, 3)
_FIELDS = (
    "version",
    "created_by",
    "domain",
    "task_description",
    "seed_examples",
    "document",
    "document_outline",
    "attribution",
)
_PAIR_FIELDS = ("question", "answer")
_EXAMPLE_FIELDS = (*_PAIR_FIELDS, "context", "attribution")
_CONTEXT_FIELDS = ("context", "questions_and_answers")
_DOCUMENT_FIELDS = ("document", "document_outline", "domain")

Lines = dict[PathKey, int]


def taxonomy_files(folder: Path) -> list[Path]:
    """Return all ``qna.yaml`` files below a folder, in order of their paths."""
    return sorted(folder.rglob(FILE_NAME))


def read_qna(path: Path, leaf: str) -> list[Row]:
    """Read one ``qna.yaml`` file: one row per question and answer.

    A row holds ``messages`` (the context, where there is one, and the question as the user's turn; the answer), and
    the tags ``phase`` (``knowledge`` or ``skills``), ``leaf``, ``domain``, ``task_description`` and ``version``.

    Args:
        path: The file.
        leaf: Its place in the taxonomy, such as ``knowledge/science/animals``.

    Raises:
        DataError: With file, line and field of what is wrong.
    """
    values, lines = _read_yaml(path)
    where = _Place(path, lines)
    if not isinstance(values, dict):
        raise where.error((), None, "a qna.yaml file is a mapping of fields")
    where.check_keys((), values, _FIELDS)
    version = values.get("version", 1)
    if isinstance(version, bool) or version not in VERSIONS:
        raise where.error(("version",), version, f"must be one of the versions {', '.join(map(str, VERSIONS))}")
    examples = values.get("seed_examples")
    if not isinstance(examples, list) or not examples:
        raise where.error(("seed_examples",), None, "must be a list of at least one example")
    pairs = [
        pair for index, example in enumerate(examples) for pair in _pairs(example, ("seed_examples", index), where)
    ]
    tags = {
        "phase": _phase(leaf, values),
        "leaf": leaf,
        "domain": _tag(values, "domain", where),
        "task_description": _tag(values, "task_description", where),
        "version": version,
    }
    return [{"messages": _messages(*pair)} | tags for pair in pairs]


class _Place:
    """One file and the lines of its keys, for messages."""

    def __init__(self, path: Path, lines: Lines) -> None:
        self._path, self._lines = path, lines

    def error(self, key: PathKey, value: object, rule: str, mend: str = "") -> DataError:
        line = next((self._lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self._lines), 1)
        return DataError(f"{self._path}:{line}", ".".join(map(str, key)), value, rule, mend)

    def check_keys(self, key: PathKey, values: Mapping[str, object], known: tuple[str, ...]) -> None:
        for name in values:
            if name not in known:
                mend = nearest(str(name), known) or f"known keys: {', '.join(known)}"
                raise self.error((*key, name), None, "this key is not known in a qna.yaml file", mend)

    def text(self, key: PathKey, values: Mapping[str, object], name: str) -> str:
        value = values.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.error(
                (*key, name),
                value,
                "must be text, and not empty",
                "put quotes round it" if value is not None and not isinstance(value, str) else "",
            )
        return value.strip()


def _pairs(example: object, key: PathKey, where: _Place) -> Iterator[tuple[str, str, str]]:
    """Yield context (may be empty), question and answer of one seed example."""
    if not isinstance(example, dict):
        raise where.error(key, example, "a seed example is a mapping of fields")
    if "questions_and_answers" not in example:
        where.check_keys(key, example, _EXAMPLE_FIELDS)
        context = where.text(key, example, "context") if example.get("context") is not None else ""
        yield context, where.text(key, example, "question"), where.text(key, example, "answer")
        return
    where.check_keys(key, example, _CONTEXT_FIELDS)
    context, inner = where.text(key, example, "context"), (*key, "questions_and_answers")
    pairs = example["questions_and_answers"]
    if not isinstance(pairs, list) or not pairs:
        raise where.error(inner, None, "must be a list of at least one question with its answer")
    for index, pair in enumerate(pairs):
        if not isinstance(pair, dict):
            raise where.error((*inner, index), pair, "must be a mapping with a question and an answer")
        where.check_keys((*inner, index), pair, _PAIR_FIELDS)
        yield context, where.text((*inner, index), pair, "question"), where.text((*inner, index), pair, "answer")


def _messages(context: str, question: str, answer: str) -> list[dict[str, str]]:
    """Compose the turns as instructlab/sdg does: context, an empty line, question."""
    prompt = f"{context}\n\n{question}" if context else question
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def _phase(leaf: str, values: Mapping[str, object]) -> str:
    """Knowledge stands under ``knowledge``; a file given by itself is knowledge if it names a document."""
    top = leaf.partition("/")[0]
    if top == "knowledge":
        return "knowledge"
    if top.endswith("skills"):
        return "skills"
    return "knowledge" if any(name in values for name in _DOCUMENT_FIELDS) else "skills"


def _tag(values: Mapping[str, object], name: str, where: _Place) -> str:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise where.error((name,), value, "must be text")
    return (value or "").strip()


def _read_yaml(path: Path) -> tuple[object, Lines]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(str(path), rule="must be UTF-8 text", mend="convert the file to UTF-8") from error
    except OSError as error:
        raise DataError(str(path), rule=f"cannot be read: {error}") from error
    lines: Lines = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        collect_lines(node, (), lines)
        return (None if node is None else loader.construct_document(node)), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise DataError(place, rule=f"is not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(str(path), rule=f"is not valid YAML: {str(error).partition(chr(10))[0]}") from error
