"""What training code of your own imports to be swept: the trial object, and the callback for Hugging Face trainers.

>>> from orchestrator.integrations import SweepCallback, Trial, current_trial, sweep_arguments

Only the standard library is loaded, until a name that needs ``transformers`` is used. None of it does anything
outside of a sweep, so the same script still runs alone.
"""

from orchestrator.lazy_names import attach

__getattr__, __dir__, __all__ = attach(__name__)
