"""Which analysis belongs to which finding, and what it needs before it may say anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orchestrator.reporting.findings.analysis.early import early_signals
from orchestrator.reporting.findings.analysis.outcome import Effects, FindingOutcome, conclude, not_tested
from orchestrator.reporting.findings.analysis.pairs import batches, recipes, schedules, strategies, warmups
from orchestrator.reporting.findings.analysis.rates import rates
from orchestrator.reporting.findings.analysis.runs import Runs
from orchestrator.reporting.findings.registration.registration import Finding, Registration, Target

ANALYSES: Mapping[str, Callable[[Runs, Sequence[Target]], Effects]] = {
    "F1": batches,
    "F2": early_signals,
    "F3": warmups,
    "F4": schedules,
    "F5": strategies,
    "F6": recipes,
    "F7": rates,
}


def analyse(
    finding: Finding, runs: Runs, there: Mapping[str, bool], shared: Registration, testbed: bool
) -> FindingOutcome:
    """Test a finding on the runs of its sweeps.

    Args:
        finding: As registered.
        runs: Of all sweeps that are there.
        there: Designs that the scale has, and whether their sweeps were run to their end.
        shared: The registration.
        testbed: Whether the data are the test bed's; decides on which target the verdict rests.
    """
    needed = [name for name in finding.sweeps if name in there]
    missing = [name for name in needed if not there[name]]
    if missing:
        return not_tested(finding, f"it waits for {', '.join(missing)}, which was not run to its end", testbed)
    seeds = len(runs.seeds(*needed))
    if seeds < finding.least_seeds:
        why = f"{seeds} seeds are shared by its sweeps, a verdict needs {finding.least_seeds}"
        return not_tested(finding, why, testbed)
    targets = [target for target in finding.targets if target in runs.targets]
    return conclude(finding, ANALYSES[finding.id](runs, targets), targets, seeds, shared, testbed)
