"""What a sweep trains, a base model on data or code of the user's own, as journal and MLflow name it."""

from __future__ import annotations

from orchestrator.api.plan.preflight import ValidationResult
from orchestrator.history.journal_facts import FILE
from orchestrator.records import Scalar
from orchestrator.tracking.tracker import DatasetInfo
from orchestrator.training.model.load import find_model, load_config, weights_digest


def inputs_of(validation: ValidationResult) -> dict[str, str]:
    """Return digests of what trials read; a sweep is not resumed once one of them has changed."""
    setup, entrypoint, model = validation.setup, validation.entrypoint, validation.spec.model
    if entrypoint is not None:
        return {f"{FILE}{name}": value for name, value in entrypoint.files.items()}
    assert setup is not None
    return {
        "training data": setup.train_digest,
        **{f"training data {part.name} ({part.rows:,} rows)": part.source_digest for part in setup.parts},
        "base model": weights_digest(find_model(model), model.revision),
    }


def datasets_of(validation: ValidationResult) -> tuple[DatasetInfo, ...]:
    """Return the data sets as MLflow records them; an entrypoint's are unknown."""
    setup, data = validation.setup, validation.spec.data
    if setup is None:
        return ()
    parts = (DatasetInfo(part.name, part.source_digest, part.source, part.rows) for part in setup.parts)
    return (DatasetInfo("train", setup.train_digest, data.label, setup.train.rows), *parts)


def subject_params(validation: ValidationResult) -> dict[str, Scalar]:
    """Return the parameters of the sweep's own run that say what is trained."""
    setup, spec = validation.setup, validation.spec
    if setup is None:
        return {"entrypoint": "" if spec.entrypoint is None else spec.entrypoint.label}
    config = load_config(spec.model)
    return {
        "model": spec.model.path,
        "data": spec.data.label,
        "train_rows": setup.train.rows,
        "model_family": str(config.model_type),
        "model_width": getattr(config.get_text_config(), "hidden_size", None),
        "model_parameters": setup.model.parameters,
    }
