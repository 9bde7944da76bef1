"""What an extension asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ExtendRequest:
    """What to train besides; everything may be left out, then an extension that was killed goes on.

    Args:
        trials: More trials of the search.
        changes: ``field=value`` texts that change ``search_space``, ``searcher`` or ``budget.trials`` (audit, repeats and
            where the sweep runs, too).
        file: A sweep file that differs in these only.
        best: So many of the best completed trials are trained on to a larger budget.
        samples: That budget in samples of one trial, counted from its beginning.
        epochs: The same in passes over the data.
        restart_schedule: Where training cannot go on exactly, start anew from the weights over the further samples.
        audit: Share of the stopped trials to audit.
        repeats: New seeds of the best recipes.
        resume: Stopped trials (ids or names) to train on to their end.
        clone: A trial (id or name) to clone.
        clone_changes: ``field=value`` texts for the clone.
        from_weights: The clone starts from its parent's weights.
    """

    trials: int | None = None
    changes: Sequence[str] = ()
    file: Path | None = None
    best: int | None = None
    samples: int | None = None
    epochs: float | None = None
    restart_schedule: bool = False
    audit: float | None = None
    repeats: int | None = None
    resume: Sequence[str] = ()
    clone: str | None = None
    clone_changes: Sequence[str] = field(default=())
    from_weights: bool = False


NOTHING_MORE = ExtendRequest()
"""Goes on with an extension that was killed, or with an interrupted sweep."""
