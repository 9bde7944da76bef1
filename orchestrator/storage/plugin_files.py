"""The text of the plug-ins that a sweep was run with, kept in its folder: what is read back trains with the same code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping

from orchestrator.errors import StorageError
from orchestrator.plugins.code import PluginCode
from orchestrator.plugins.loading import load, loaded_code
from orchestrator.progress import Say, silent
from orchestrator.spec.plugin_words import plugin_label
from orchestrator.storage.sweep_folder import SweepFolder


def keep_plugins(folder: SweepFolder, codes: Iterable[PluginCode]) -> None:
    """Write plug-ins into a sweep's folder, those that are not there yet."""
    for code in codes:
        place = folder.plugin(code.digest)
        if place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(code.as_dict(), indent=1), encoding="utf-8")
        draft.replace(place)


def load_plugins(folder: SweepFolder, digests: Mapping[str, str], say: Say = silent) -> None:
    """Load the plug-ins of a sweep that is read back, as they were when it was run.

    Args:
        folder: The sweep's.
        digests: What `SweepSpec.plugins` says.
        say: Told of each before its code is run.

    Raises:
        StorageError: If one is not in the folder.
        PluginError: If one cannot be loaded here.
    """
    for label, digest in digests.items():
        code = _stored(folder, label, digest)
        known = loaded_code(code.kind, code.reference)
        if known is None or known.digest != code.digest:
            say(f"Importing {code.kind.replace('_', ' ')} {code.reference}, as kept in {folder.root} ...")
            load(code)


def _stored(folder: SweepFolder, label: str, digest: str) -> PluginCode:
    place = folder.plugin(digest)
    try:
        code = PluginCode.from_dict(json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, StopIteration) as error:
        rule = f"the code of {label} is not in the sweep's folder ({error})"
        raise StorageError(str(place), rule=rule, mend="restore the folder from a copy") from error
    if plugin_label(code) != label:
        # Two names of one file share a digest, and a file of the store.
        kind, _, reference = label.partition(" ")
        return PluginCode.from_dict({**code.as_dict(), "kind": kind, "reference": reference})
    return code
