"""What stays the same for every trial of a sweep: model, data, evaluation, training."""

from orchestrator.lazy_names import attach

__getattr__, __dir__, __all__ = attach(__name__)
