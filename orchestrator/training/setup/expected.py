"""A setup whose model or data is not here yet, described by what is expected of it (``data.expected``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoConfig

from orchestrator.errors import DataError, InputError, ModelError
from orchestrator.settings.data import ExpectedData
from orchestrator.settings.trial_setup import DataSettings, ModelSettings, TrialSetup
from orchestrator.training.data.prepare import split_rows
from orchestrator.training.data.sources import HubSource, open_source
from orchestrator.training.model import hub
from orchestrator.training.model.architectures import ARCHITECTURES, architecture_folder
from orchestrator.training.model.load import count_parameters, load_config, model_length_limit, training_dtype
from orchestrator.training.model.protocols import ModelConfig
from orchestrator.training.setup.inspect import EvaluationSummary, LengthSummary, ModelSummary, RowSummary, SetupReport

NOT_READ = "not read"


def missing_parts(setup: TrialSetup) -> list[InputError]:
    """Return what of a setup is not here: the error that using it would raise, per part. No weights are read.

    Looked at are the base model and the sources of the training data and of a held-out source.
    """
    return [*_missing_model(setup.model), *_missing_data(setup.data)]


def expect_setup(setup: TrialSetup, missing: list[InputError]) -> SetupReport:
    """Return what is known of a setup without reading what is missing.

    Args:
        setup: A setup with ``data.expected``.
        missing: What is not here, from `missing_parts`.

    Raises:
        ModelError: If the model is not here and its architecture does not come with the package.
        ValueError: If nothing is expected of the data.
    """
    expected = setup.data.expected
    if expected is None:
        raise ValueError("a setup without data.expected cannot be described without its data")
    config = expected_config(setup.model)
    total = min(expected.rows, setup.data.limit or expected.rows)
    train, held_out = total, 0
    if not isinstance(setup.data.held_out, str):
        kept, held = split_rows(total, setup.data.held_out, setup.data.split_seed)
        train, held_out = len(kept), len(held)
    return SetupReport(
        model=_model_summary(setup, config),
        data=RowSummary(setup.data.label, NOT_READ, {}, (), expected.rows, total, 0, (), 0),
        train=_lengths(setup.data, expected, train),
        held_out=_lengths(setup.data, expected, held_out) if held_out else None,
        duplicates=0,
        phases={phase.name: round(phase.share * train) for phase in setup.data.phases if phase.share is not None},
        evaluation=tuple(_evaluations(setup, expected, held_out)),
        train_digest="",
        seconds=0.0,
        replay={phase.name: phase.replay for phase in setup.data.phases if phase.replay},
        missing=tuple(f"{error.where}: {error.rule}" for error in missing),
    )


def expected_config(settings: ModelSettings) -> ModelConfig:
    """Return the model's configuration: its own where it is here, else the one that comes with the package.

    Raises:
        ModelError: If there is neither.
    """
    try:
        return load_config(settings)
    except ModelError as error:
        folder = architecture_folder(settings.path) or _bare_folder(settings.path)
        if folder is None:
            known = ", ".join(ARCHITECTURES)
            raise ModelError(
                settings.path,
                rule=f"{error.rule}, and its architecture does not come with this package",
                mend=f"give a folder with its config.json, or one of {known}",
            ) from error
        config: ModelConfig = AutoConfig.from_pretrained(str(folder))
        return config


def _bare_folder(path: str) -> Path | None:
    """Return a folder that holds a configuration but no weights."""
    folder = Path(path).expanduser()
    return folder if (folder / "config.json").is_file() else None


def _missing_model(settings: ModelSettings) -> Iterator[InputError]:
    try:
        load_config(settings)
    except ModelError as error:
        if architecture_folder(settings.path) is None and _bare_folder(settings.path) is None:
            yield error
            return
        rule = "the weights are not here; only the architecture is known, which is enough for validate and plan"
        yield ModelError(settings.path, "model.path", rule=rule, mend="--set model=FOLDER_OR_HUB_ID")


def _missing_data(data: DataSettings) -> Iterator[InputError]:
    held_out = (data.held_out,) if isinstance(data.held_out, str) else ()
    references = list(dict.fromkeys((*data.sources, *held_out)))
    errors = [error for reference in references if (error := _missing_source(reference, data.split)) is not None]
    if len(errors) > 1:
        rule = f"{errors[0].rule}, and {len(errors) - 1} more of the {len(references)} sources are missing"
        yield DataError(errors[0].where, rule=rule)
    else:
        yield from errors


def _missing_source(reference: str, split: str) -> DataError | None:
    try:
        source = open_source(reference, split)
        if isinstance(source, HubSource) and not hub.is_reachable():
            source.digest()
    except DataError as error:
        if Path(reference.rpartition("#")[0] or reference).expanduser().exists():
            raise  # it is here, and something is wrong with it
        return error
    return None


def _model_summary(setup: TrialSetup, config: ModelConfig) -> ModelSummary:
    parameters, model_class = count_parameters(config, setup.model)
    return ModelSummary(
        path=setup.model.path,
        model_class=model_class,
        parameters=parameters,
        vocabulary=int(config.get_text_config().vocab_size),
        tokenizer_vocabulary=0,
        length_limit=model_length_limit(config),
        dtype=str(training_dtype(setup.training, torch.device("cuda"))).removeprefix("torch."),
        template=NOT_READ,
        end_of_turn="",
        pads_with_end=False,
    )


def _lengths(data: DataSettings, expected: ExpectedData, rows: int) -> LengthSummary:
    tokens, mean = round(rows * expected.mean_tokens), expected.mean_tokens
    longest = min(expected.longest, data.max_length or expected.longest)
    return LengthSummary(rows, tokens, round(tokens * expected.answer_share), mean, mean, float(longest), longest)


def _evaluations(setup: TrialSetup, expected: ExpectedData, held_out: int) -> Iterator[EvaluationSummary]:
    """Yield the evaluation sets; of those that do not read the held-out rows only the limit is known."""
    for entry in setup.evaluation:
        available = held_out if entry.data == "held_out" else entry.limit or 0
        rows = min(available, entry.limit or available)
        tokens = round(rows * expected.mean_tokens)
        source = ", ".join(entry.tasks) or entry.data
        yield EvaluationSummary(entry.name, entry.kind, source, rows, tokens, round(tokens * expected.answer_share), "")
