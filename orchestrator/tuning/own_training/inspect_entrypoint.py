"""What can be known of an entrypoint without running it: where its code is, that it takes a trial, and digests of its files."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from orchestrator.errors import EntrypointError, nearest
from orchestrator.settings.trial_setup import EntrypointSettings

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_SCRIPTS = (".py", ".sh")


@dataclass(frozen=True)
class EntrypointReport:
    """What was found.

    Args:
        label: The entrypoint as the sweep file gives it.
        kind: ``function`` or ``command``.
        folder: Where it runs.
        files: Files of the user's that define it, and digests of their contents.
    """

    label: str
    kind: str
    folder: str
    files: dict[str, str]


def inspect_entrypoint(entrypoint: EntrypointSettings, where: str) -> EntrypointReport:
    """Look at the user's code; none of it is run.

    Args:
        entrypoint: From a loaded sweep file, so that its folder is absolute (else the current folder is meant).
        where: Name of the sweep file for messages.

    Raises:
        EntrypointError: If a file, module, function or command is missing, a file is no Python, or the function does not
            take one argument.
    """
    folder = Path(entrypoint.folder).resolve()
    if not folder.is_dir():
        raise EntrypointError(where, "entrypoint.folder", entrypoint.folder, "there is no such folder")
    if entrypoint.function:
        files = [_function_file(entrypoint.function, folder, where)]
    else:
        files = _command_files(entrypoint.command, folder, where)
    for name in entrypoint.inputs:
        if not (folder / name).is_file():
            raise EntrypointError(where, "entrypoint.inputs", name, f"there is no such file in {folder}")
    files += [folder / name for name in entrypoint.inputs]
    kind = "function" if entrypoint.function else "command"
    return EntrypointReport(entrypoint.label, kind, str(folder), _digests(files, folder))


def _digests(files: Iterable[Path], folder: Path) -> dict[str, str]:
    found = {}
    for file in files:
        name = str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)
        with file.open("rb") as stream:
            found[name] = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    return found


# -- functions ---------------------------------------------------------------------------------------


def _function_file(function: str, folder: Path, where: str) -> Path:
    place, _, name = function.rpartition(":")
    file = folder / place if place.endswith(".py") else _module_file(place, folder, where)
    if not file.is_file():
        raise EntrypointError(
            where,
            "entrypoint.function",
            function,
            f"there is no file {file}",
            nearest(file.name, _scripts_beside(file)),
        )
    _check_function(_parsed(file, function, where), name, file, function, where)
    return file.resolve()


def _scripts_beside(file: Path) -> list[str]:
    return [path.name for path in file.parent.glob("*.py")] if file.parent.is_dir() else []


def _module_file(module: str, folder: Path, where: str) -> Path:
    """Return a module's file, found as an import would find it, but without running any package's code."""
    search: list[str] | None = [str(folder), *sys.path]
    known = origin = ""
    for part in module.split("."):
        known = f"{known}.{part}" if known else part
        spec = PathFinder.find_spec(known, search)
        if spec is None or not spec.origin:
            raise EntrypointError(
                where,
                "entrypoint.function",
                module,
                f"there is no module '{known}' in {folder} or among the installed packages",
                "a file is named with its ending: my_script.py:train",
            )
        origin, search = spec.origin, list(spec.submodule_search_locations or [])
    return Path(origin)


def _parsed(file: Path, function: str, where: str) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    except SyntaxError as error:
        raise EntrypointError(
            where, "entrypoint.function", function, f"{file.name} line {error.lineno} is no Python: {error.msg}"
        ) from None
    except (UnicodeDecodeError, ValueError):
        raise EntrypointError(where, "entrypoint.function", function, f"{file} is no text file") from None


def _check_function(tree: ast.Module, name: str, file: Path, function: str, where: str) -> None:
    bound = _bound_names(tree)
    if name not in bound:
        raise EntrypointError(
            where, "entrypoint.function", function, f"{file.name} has no function '{name}'", nearest(name, bound)
        )
    node = bound[name]
    if not isinstance(node, _Function):
        return  # imported or assigned: it is looked at when it is called
    wanted = f"write def {name}(trial): ..."
    if isinstance(node, ast.AsyncFunctionDef):
        raise EntrypointError(
            where, "entrypoint.function", function, f"{name} is a coroutine, and must be a plain function", wanted
        )
    if node.decorator_list:
        return
    arguments = node.args
    positional = len(arguments.posonlyargs) + len(arguments.args)
    required = positional - len(arguments.defaults)
    keyword_only = sum(default is None for default in arguments.kw_defaults)
    if (positional == 0 and arguments.vararg is None) or required > 1 or keyword_only:
        rule = (
            f"{name} must take exactly one argument, the trial; at line {node.lineno} it takes {_described(arguments)}"
        )
        raise EntrypointError(where, "entrypoint.function", function, rule, wanted)


def _described(arguments: ast.arguments) -> str:
    text = ast.unparse(arguments)
    return f"({text})" if text else "none"


def _bound_names(tree: ast.Module) -> dict[str, ast.stmt]:
    """Return what is bound at the top level of a module, also inside ``if`` and ``try``."""
    found: dict[str, ast.stmt] = {}
    queue: list[ast.stmt] = list(tree.body)
    while queue:
        node = queue.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0]: node for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
        else:
            queue += [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt)]
    return found


# -- commands ----------------------------------------------------------------------------------------


def _command_files(command: list[str], folder: Path, where: str) -> list[Path]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = command[0]
    place = folder / program if os.sep in program else None
    found = shutil.which(str(place) if place else program, path=path)
    if found is None:
        raise EntrypointError(
            where,
            "entrypoint.command",
            program,
            "there is no such command" if place is None else f"there is no program {place}",
            "install it, or give its path from the folder of the sweep file",
        )
    scripts = [word for word in command[1:] if word.endswith(_SCRIPTS) and "{" not in word]
    missing = next((word for word in scripts if not (folder / word).is_file()), None)
    if missing is not None:
        raise EntrypointError(
            where,
            "entrypoint.command",
            missing,
            f"there is no such file in {folder}",
            nearest(missing, _scripts_beside(folder / missing)),
        )
    own = [place] if place is not None else []
    return [*own, *((folder / word).resolve() for word in scripts)]
