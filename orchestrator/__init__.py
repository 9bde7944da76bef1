"""Distributed experiment orchestrator on Ray for supervised fine-tuning of small language models."""

from orchestrator.lazy_names import attach

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = attach(__name__)
