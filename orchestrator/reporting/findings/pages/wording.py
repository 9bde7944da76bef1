"""How effects, intervals and learning rates are written: no finer than what matters, with the sign that says for whom."""

from __future__ import annotations

import math

from orchestrator.reporting.findings.analysis.outcome import Judged
from orchestrator.reporting.text.numbers import number

MINUS = "\N{MINUS SIGN}"
_MOST_DECIMALS = 6


def effect_text(each: Judged) -> str:
    """Return an effect with its sign, to two digits of the smallest effect that matters; a dash where it is unknown."""
    value = each.effect.value
    if not math.isfinite(value):
        return "-"
    shown = _rounded(value, each.minimum)
    return shown if shown.startswith(MINUS) or not float(shown.replace(",", "")) else f"+{shown}"


def interval_text(each: Judged) -> str:
    """Return an effect's 95 % interval as ``LOW to HIGH``, rounded as the effect is; ``none`` where it is unknown."""
    if not each.effect.known:
        return "none"
    return f"{_rounded(each.effect.low, each.minimum)} to {_rounded(each.effect.high, each.minimum)}"


def rate_text(rate: float) -> str:
    """Return a learning rate as papers write it: ``2e-5``, ``1.5e-4``."""
    mantissa, _, exponent = f"{rate:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _rounded(value: float, minimum: float) -> str:
    if not math.isfinite(value) or minimum <= 0:
        return number(value, 3).replace("-", MINUS)
    decimals = min(_MOST_DECIMALS, max(0, 1 - math.floor(math.log10(minimum))))
    text = f"{value:,.{decimals}f}"
    # Not "-0.000": which side of zero it is on is too little to tell.
    return text.lstrip("-") if not float(text.replace(",", "")) else text.replace("-", MINUS)
