"""How numbers, shares and durations are written in tables."""

from __future__ import annotations

import math


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits; a dash where there is none."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def with_error(value: float | None, error: float | None) -> str:
    """Return ``1.234 ± 0.05``; the value alone where its standard error is unknown or no number."""
    return number(value) if error is None or math.isnan(error) else f"{number(value)} ± {number(error, 2)}"


def percent(value: float | None) -> str:
    """Return a probability in percent; a dash where there is none."""
    return "-" if value is None else f"{value:.0%}"


def share(part: float, whole: float) -> str:
    """Return a part of a whole in per cent."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def duration(seconds: float) -> str:
    """Return seconds as ``42 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def gibibytes(amount: float) -> str:
    """Return GiB with a unit that fits."""
    return f"{amount:.2f} GiB" if amount >= 0.1 else f"{amount * 1024:.1f} MiB"


def ago(moment: float | None, now: float) -> str:
    """Return how long ago a Unix time is, in one unit: ``5 s ago``, ``12 min ago``, ``3 h ago``, ``4 days ago``."""
    if moment is None:
        return "-"
    seconds = max(0.0, now - moment)
    units = ((86400, 2, "days"), (3600, 2, "h"), (60, 2, "min"))
    size, unit = next(((size, unit) for size, least, unit in units if seconds >= least * size), (1, "s"))
    return f"{seconds / size:.0f} {unit} ago"


def cut(text: str, width: int) -> str:
    """Return the first line of a text, cut to ``width`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: max(0, width - 1)]}…"
