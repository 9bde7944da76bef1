"""Initialisations from data: the method looks at training samples before it starts."""

from __future__ import annotations

from torch import Tensor

from orchestrator.errors import ModelError
from orchestrator.spec.methods.lora import CalibrationOptions
from orchestrator.spec.options.declared import as_dataclass
from orchestrator.training.methods.adapters.peft_adapter import PeftMethod
from orchestrator.training.methods.contract.method import MethodContext

Rows = list[dict[str, Tensor]]
"""Batches of one row each: ``input_ids``, ``attention_mask``, ``labels`` of shape (1, length)."""


class Calibrated(PeftMethod):
    """A variant of lora that starts from training samples: same samples, same adapter."""

    needs_calibration = True

    def calibration_rows(self, context: MethodContext) -> Rows:
        """Return ``calibration_samples`` training samples.

        Raises:
            ModelError: If there are none.
        """
        if context.calibration_batches is None:
            raise ModelError("method", self.name, None, "needs training samples to start from, and none were given")
        count = as_dataclass(CalibrationOptions, self.options).calibration_samples
        return [dict(batch) for batch in context.calibration_batches(count)]
