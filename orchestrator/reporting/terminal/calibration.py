"""How good a forecast's numbers are, as tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from orchestrator.simulation.forecast.calibration import Calibration, ReliabilityBin, StageScores

_BAR = 20


def print_calibration(calibration: Calibration, console: Console) -> None:
    """Print scores per stage, and how often what was called probable came."""
    weights = "weights fitted without the sweep that is forecast" if calibration.left_out else "the weights as given"
    console.print(_stages(calibration.stages, f"Forecast of {', '.join(calibration.metrics)}"))
    console.print()
    console.print(_reliability(calibration.reliability))
    panels = sum(stage.panels for stage in calibration.stages)
    console.print(
        f"{len(calibration.sweeps)} sweeps, {panels} cohorts at milestones, {weights}. Errors and bands are of the better half "
        "by forecast, in units of about the distance between the best and the median trial.",
        style="dim",
        highlight=False,
    )


def _stages(stages: tuple[StageScores, ...], title: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left", title_style="bold")
    heads = (
        "share of training",
        "own score's rank corr.",
        "forecast's",
        "gain (95 %)",
        "CRPS",
        "pinball",
        "in 50 % band",
        "in 90 % band",
        "log score",
        "of even odds",
        "value off by",
        "value in 90 % band",
    )
    for head in heads:
        table.add_column(head, justify="right")
    for stage in stages:
        gain = f"{stage.gain.value:+.3f} ({stage.gain.low:+.3f} to {stage.gain.high:+.3f})"
        table.add_row(
            f"{stage.share:.3f}",
            f"{stage.own_rank:+.3f}",
            f"{stage.forecast_rank:+.3f}",
            gain,
            f"{stage.crps:.3f}",
            f"{stage.pinball:.3f}",
            f"{stage.inside_50:.0%}",
            f"{stage.inside_90:.0%}",
            f"{stage.log_score:.2f}",
            f"{stage.even_log_score:.2f}",
            f"{stage.value_error:.0%}",
            f"{stage.value_inside:.0%}",
        )
    return table


def _reliability(bins: tuple[ReliabilityBin, ...]) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        header_style="dim",
        title="Probability to end best",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("forecast")
    for head in ("trials", "said", "came"):
        table.add_column(head, justify="right")
    table.add_column(f"said ░ and came █, {_BAR} marks = 100 %")
    for each in bins:
        said, came = round(_BAR * each.said), round(_BAR * each.came)
        bar = "█" * min(said, came) + ("░" * (said - came) if said > came else "█" * (came - said))
        table.add_row(
            f"{each.low:.0%} to {each.high:.0%}", f"{each.trials:,}", f"{each.said:.1%}", f"{each.came:.1%}", bar
        )
    return table
