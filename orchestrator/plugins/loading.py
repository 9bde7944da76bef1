"""Running a plug-in's code: once a process, from the text that was found, with errors that name its own line."""

from __future__ import annotations

import importlib
import linecache
import sys
import traceback
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from orchestrator.errors import OrchestratorError, PluginError
from orchestrator.plugins.code import Kind, PluginCode, find_code

_loaded: dict[tuple[Kind, str], tuple[PluginCode, object]] = {}
_absent: set[tuple[Kind, str]] = set()


def load(code: PluginCode) -> object:
    """Run a plug-in's file (or import its package) and return the object that it names.

    The same text is run once a process; another text of the same name takes its place.

    Raises:
        PluginError: If it raises; names its own line.
    """
    known = _loaded.get((code.kind, code.reference))
    if known is not None and known[0].digest == code.digest:
        return known[1]
    _check_installed(code)
    with guarded(code, "importing it failed"):
        module = _from_text(code) if code.source else importlib.import_module(code.target.partition(":")[0])
        value: object = getattr(module, code.name)
    _loaded[code.kind, code.reference] = code, value
    return value


def load_all(codes: Iterable[PluginCode]) -> None:
    """Load several, as a worker does before its first trial."""
    for code in codes:
        load(code)


def loaded(kind: Kind, reference: str) -> object | None:
    """Return a plug-in that this process has loaded; None otherwise."""
    known = _loaded.get((kind, reference))
    return None if known is None else known[1]


def loaded_code(kind: Kind, reference: str) -> PluginCode | None:
    """Return the code of a plug-in that this process has loaded; None otherwise."""
    known = _loaded.get((kind, reference))
    return None if known is None else known[0]


def note_absent(kind: Kind, reference: str) -> None:
    """Note a plug-in whose name is known from a sweep that is read back, and whose code has not been run here."""
    _absent.add((kind, reference))


def is_absent(kind: Kind, reference: str) -> bool:
    """Whether a word is known to name a plug-in that this process has not loaded: it is taken at its word."""
    return (kind, reference) in _absent and (kind, reference) not in _loaded


def is_plugin(kind: Kind, reference: str) -> bool:
    """Whether a word names a plug-in, loaded here or only known by its name."""
    return (kind, reference) in _loaded or (kind, reference) in _absent


def forget(kind: Kind, reference: str) -> None:
    """Forget a plug-in, as tests do."""
    _loaded.pop((kind, reference), None)
    _absent.discard((kind, reference))


@contextmanager
def guarded(code: PluginCode, what: str) -> Iterator[None]:
    """Turn whatever a plug-in raises into one line that names the plug-in's own line.

    Args:
        code: The plug-in.
        what: What was asked of it, as a clause: ``scoring 'eval' failed``.

    Raises:
        PluginError: In place of any exception but those of this package.
    """
    try:
        yield
    except OrchestratorError:
        raise
    except (Exception, SystemExit) as error:
        raise _told(code, what, error) from error


@contextmanager
def blaming() -> Iterator[None]:
    """Turn what a plug-in raised somewhere inside into one line that names the plug-in's own line.

    Raises:
        PluginError: In place of an exception that came out of a plug-in's code; all others pass.
    """
    try:
        yield
    except OrchestratorError:
        raise
    except Exception as error:
        told = blamed(error)
        if told is None:
            raise
        raise told from error


def blamed(error: BaseException) -> PluginError | None:
    """Return an exception as one line that names the plug-in's own, if it came out of a plug-in's code."""
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    code = next((code for code, _ in _loaded.values() if _file(code) in files), None)
    return None if code is None else _told(code, "its code failed", error)


def _told(code: PluginCode, what: str, error: BaseException) -> PluginError:
    lines = str(error).strip().splitlines() or [""]
    file = _file(code)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f"{file}:{own[-1].lineno}" if own else code.place
    mend = ""
    if isinstance(error, ModuleNotFoundError):
        mend = (
            "install the package, or keep the plug-in in one file: what lies beside it does not travel to the workers"
        )
    return PluginError(
        where, rule=f"{what}: {type(error).__name__}: {lines[0][:300]} ({code.kind} {code.reference})", mend=mend
    )


def _file(code: PluginCode) -> str:
    """Return the file that a plug-in's frames name: of an installed package its module's, once that is imported."""
    module = sys.modules.get(code.target.partition(":")[0]) if code.target else None
    return code.place if module is None else str(getattr(module, "__file__", None))


def _check_installed(code: PluginCode) -> None:
    """Raise where a package is not installed here, or in another version than the one that is meant."""
    if not code.target:
        return
    here = find_code(code.kind, code.reference, Path(), code.place, "")
    if here is None or here.digest != code.digest:
        found = "it is not installed" if here is None else f"{here.place} is, whose code differs"
        raise PluginError(
            code.place, "", code.reference, f"this package is needed here, and {found}", "install that version"
        )


def _from_text(code: PluginCode) -> ModuleType:
    # A name of its own for each text, known to pickle; tracebacks find the text where the file is not.
    name = f"orchestrator_plugin_{code.digest}_{zlib.crc32(code.place.encode()):08x}"
    known = sys.modules.get(name)
    if known is not None:
        return known
    module = ModuleType(name)
    module.__file__ = code.place
    linecache.cache[code.place] = (len(code.source), None, code.source.splitlines(keepends=True), code.place)
    sys.modules[name] = module
    try:
        exec(compile(code.source, code.place, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def check(condition: bool, code: PluginCode, rule: str, mend: str = "") -> None:
    """Raise unless a plug-in keeps to its contract.

    Raises:
        PluginError: Names file and contract.
    """
    if not condition:
        raise PluginError(code.place, "", code.reference, rule, mend)
