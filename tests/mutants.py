"""Forty faults that the tests must notice: ``python -m tests.mutants [--root DIR] [--only NAME ...]``.

Each is one changed piece of text in a copy of the package, for which the tests of its room are run until the first
fails. What no test notices is listed; the gate itself only checks that every piece of text is still there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

ROOMS: dict[str, tuple[str, ...]] = {
    "decisions": ("tests/decisions", "tests/coordinating", "tests/simulation/test_simulator.py"),
    "batches": ("tests/spec/test_batch_plan.py", "tests/spec/test_schedules.py", "tests/training/loop"),
    "loss": ("tests/training/loop", "tests/training/evaluations/test_evaluation.py"),
    "journal": ("tests/storage", "tests/coordinating"),
    "outbox": ("tests/tracking",),
    "adapters": ("tests/training/methods", "tests/training/export"),
}
"""Room of a fault, and the tests that are asked."""


@dataclass(frozen=True)
class Mutant:
    """A fault: ``text`` stands once in the package and is replaced."""

    name: str
    room: str
    text: str
    fault: str


MUTANTS = (
    Mutant(
        "rung-rounds-down",
        "decisions",
        "return math.ceil(size / self.reduction_factor - 1e-9)",
        "return math.floor(size / self.reduction_factor)",
    ),
    Mutant(
        "rung-rank-from-zero",
        "decisions",
        "return 1 + bisect_left(self._ranked_by_method.get(entry.method, []), entry.place)",
        "return bisect_left(self._ranked_by_method.get(entry.method, []), entry.place)",
    ),
    Mutant(
        "rung-cut-off-one-late",
        "decisions",
        "return self._ranked[places - 1][0] if 0 < places",
        "return self._ranked[min(places, len(self._ranked) - 1)][0] if 0 < places",
    ),
    Mutant("rung-forgets-promoted", "decisions", "        self.promoted.discard(trial_id)", "        pass"),
    Mutant(
        "objective-max-as-min",
        "decisions",
        'return (self.violation(scores, partial), value if self.mode == "min" else -value)',
        "return (self.violation(scores, partial), value)",
    ),
    Mutant(
        "objective-nan-keeps-bound",
        "decisions",
        "            return math.inf\n        excess",
        "            return 0.0\n        excess",
    ),
    Mutant("objective-partial-ignored", "decisions", "if not partial or constraint.metric in scores:", "if True:"),
    Mutant(
        "divergence-window-follows",
        "decisions",
        "        self._exploding_steps += 1\n",
        "        self._exploding_steps += 1\n        self._norms.append(signal.grad_norm)\n",
    ),
    Mutant(
        "divergence-start-unweighted",
        "decisions",
        "weight = max(1, signal.samples_seen - self._last_samples)",
        "weight = 1",
    ),
    Mutant(
        "divergence-any-limit",
        "decisions",
        "limit = max(start + self._rule.loss_margin",
        "limit = min(start + self._rule.loss_margin",
    ),
    Mutant(
        "repeats-bound-at-zero",
        "decisions",
        "if objective.violation(mean_scores(each.scores)) > 0:",
        "if objective.violation(each.scores[-1]) > 0:",
    ),
    Mutant(
        "repeats-one-sided",
        "decisions",
        "error = spread * math.sqrt(1 / len(each.values) + 1 / len(leader.values))",
        "error = spread * math.sqrt(1 / len(each.values))",
    ),
    Mutant(
        "steps-rounded-down",
        "batches",
        "return -(-self.samples // self.effective_batch_size)",
        "return self.samples // self.effective_batch_size",
    ),
    Mutant(
        "last-step-whole",
        "batches",
        "return self.samples - (self.steps - 1) * self.effective_batch_size",
        "return self.effective_batch_size",
    ),
    Mutant(
        "warm-up-noise",
        "batches",
        "return min(math.ceil(round(amount, 9)), self.steps)",
        "return min(math.ceil(amount), self.steps)",
    ),
    Mutant(
        "warm-up-unbounded",
        "batches",
        "return min(math.ceil(round(amount, 9)), self.steps)",
        "return math.ceil(round(amount, 9))",
    ),
    Mutant(
        "samples-past-budget",
        "batches",
        "return min(step * self.effective_batch_size, self.samples)",
        "return step * self.effective_batch_size",
    ),
    Mutant(
        "milestone-snaps-past",
        "batches",
        "return snapped if close and level < samples and snapped <= samples else level",
        "return snapped if close and level < samples else level",
    ),
    Mutant(
        "micro-batch-over-budget",
        "batches",
        "first = max(0, stop - max(1, token_budget // longest))",
        "first = max(0, stop - max(1, token_budget // longest + 1))",
    ),
    Mutant(
        "micro-batches-unsorted",
        "batches",
        'order = np.argsort(sizes, kind="stable")',
        'order = np.argsort(-sizes, kind="stable")[::-1]',
    ),
    Mutant(
        "mask-on-padding",
        "batches",
        "        attention_mask[row, : len(ids)] = 1\n",
        "        attention_mask[row, :] = 1\n",
    ),
    Mutant(
        "prompt-is-learned",
        "batches",
        "np.copyto(labels[row, : len(ids)], ids, where=np.asarray(is_answer, dtype=bool))",
        "np.copyto(labels[row, : len(ids)], ids)",
    ),
    Mutant(
        "answer-tokens-unshifted",
        "loss",
        "return int((micro_batch.labels[:, 1:] != IGNORED).sum())",
        "return int((micro_batch.labels != IGNORED).sum())",
    ),
    Mutant(
        "loss-mean",
        "loss",
        'return functional.cross_entropy(logits.float(), targets, reduction="sum")',
        'return functional.cross_entropy(logits.float(), targets, reduction="mean")',
    ),
    Mutant("logits-unscaled", "loss", "        scale = 1.0 / float(divisor)", "        scale = float(divisor)"),
    Mutant(
        "hooked-head-is-plain",
        "loss",
        "return type(head) is nn.Linear and not head._forward_hooks and not head._forward_pre_hooks",
        "return isinstance(head, nn.Linear)",
    ),
    Mutant("probe-without-padding", "loss", "    mask[1, 3:] = 0\n", "    mask[1, 3:] = 1\n"),
    Mutant(
        "error-without-correction",
        "loss",
        "return ratio, float(np.sqrt((residuals**2).sum() * rows / (rows - 1)) / total)",
        "return ratio, float(np.sqrt((residuals**2).sum()) / total)",
    ),
    Mutant(
        "journal-takes-torn-line",
        "journal",
        'data.split(b"\\n")[:-1], first',
        'data.rstrip(b"\\n").split(b"\\n"), first',
    ),
    Mutant("journal-ignores-new-driver", "journal", "if self._claim(self.epoch + 1).exists():", "if False:"),
    Mutant(
        "journal-keeps-half-a-line", "journal", "            os.ftruncate(descriptor, start)\n", "            pass\n"
    ),
    Mutant(
        "journal-same-epoch",
        "journal",
        "self.epoch = 1 + read_journal(path).latest_epoch",
        "self.epoch = read_journal(path).latest_epoch",
    ),
    Mutant("journal-reader-from-start", "journal", "if file.seek(0, os.SEEK_END) < self._offset:", "if False:"),
    Mutant(
        "outbox-loses-newest",
        "outbox",
        "                self._unsaved.popleft()\n                self.lost += 1",
        "                self._unsaved.pop()\n                self.lost += 1",
    ),
    Mutant(
        "outbox-mark-past-end",
        "outbox",
        "return found if found.offset <= self._size else Acknowledged()",
        "return found",
    ),
    Mutant(
        "outbox-torn-line-stays",
        "outbox",
        "        self._descriptor, self._size = descriptor, _end_of_last_line(descriptor)\n        self._cut_torn_line()",
        "        self._descriptor, self._size = descriptor, _end_of_last_line(descriptor)",
    ),
    Mutant("delivery-drops-half", "outbox", "                self._hand_over(sink, events[half:])\n", ""),
    Mutant(
        "lora-plus-slow-factor",
        "adapters",
        'if "lora_B" in name or parameter.ndim == 1}',
        'if "lora_A" in name or parameter.ndim == 1}',
    ),
    Mutant("lora-fa-unscaled", "adapters", "@ inverse / scaling**2)", "@ inverse)"),
    Mutant(
        "frozen-state-forgotten",
        "adapters",
        "return {**{name: tensor.detach() for name, tensor in trainable_parameters(model).items()}, **owned}",
        "return {name: tensor.detach() for name, tensor in trainable_parameters(model).items()}",
    ),
)


def place_of(mutant: Mutant, root: Path) -> Path:
    """Return the one file of the package that holds a mutant's text.

    Raises:
        ValueError: If no file, or more than one place, holds it.
    """
    found = [
        path
        for path in sorted((root / "orchestrator").rglob("*.py"))
        for _ in range(path.read_text(encoding="utf-8").count(mutant.text))
    ]
    if len(found) != 1:
        raise ValueError(f"mutant {mutant.name}: its text stands in {len(found)} places of {root / 'orchestrator'}")
    return found[0]


def is_caught(mutant: Mutant, root: Path, tests: tuple[str, ...]) -> bool:
    """Put the fault in, run the tests, take it out."""
    file = place_of(mutant, root)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(mutant.text, mutant.fault), encoding="utf-8")
    shutil.rmtree(file.parent / "__pycache__", ignore_errors=True)
    try:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=1800)
        return done.returncode == 1
    finally:
        file.write_text(text, encoding="utf-8")


def main() -> None:
    """Try all mutants on a copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not arguments.only or mutant.name in arguments.only]
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "runs", "site", ".*_cache")
        shutil.copytree(arguments.root, copy, ignore=ignored)
        for mutant in chosen:
            began = time.monotonic()
            caught = is_caught(mutant, copy, ROOMS[mutant.room])
            print(
                f"{'caught  ' if caught else 'SURVIVED'} {time.monotonic() - began:5.0f} s  {mutant.name}", flush=True
            )
            survivors += [] if caught else [mutant.name]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught; survivors: {', '.join(survivors) or 'none'}")


if __name__ == "__main__":
    main()
