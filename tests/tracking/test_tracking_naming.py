"""Names, parameters and tags a person reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.records import TrialConfig
from orchestrator.tracking.naming import clean_key, config_params, cut, number, trial_name


@pytest.mark.parametrize(
    ("value", "text"),
    [(3e-4, "3e-4"), (1.5e-5, "1.5e-5"), (0.05, "0.05"), (64, "64"), (0, "0"), (1e6, "1e6"), (2e-4, "2e-4")],
)
def test_number_is_short(value: float, text: str) -> None:
    assert number(value) == text


def test_trial_name_says_what_is_searched_most() -> None:
    lora = TrialConfig("lora", 64, 3e-4, 1000, method_options={"r": 16})
    assert trial_name(lora) == "lora r16 lr3e-4 ebs64 s0"
    assert trial_name(TrialConfig("full", 8, 1e-5, 1000, seed=3)) == "full lr1e-5 ebs8 s3"


def test_config_params_are_flat_and_complete() -> None:
    config = TrialConfig("lora", 64, 3e-4, 1000, method_options={"r": 16, "target_modules": ["q", "v"]})
    params = config_params(config)
    assert params["lora.r"] == 16
    assert params["lora.target_modules"] == "['q', 'v']"
    assert {"method", "samples", "seed", "clip_norm", "schedule"} <= set(params)
    assert "method_options" not in params


@given(st.text(max_size=400))
def test_clean_key_is_what_mlflow_takes(key: str) -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_tag_name

    cleaned = clean_key(key)
    assert len(cleaned) <= 250
    _validate_metric_name(cleaned)
    _validate_tag_name(cleaned)


def test_clean_key_leaves_good_keys_alone() -> None:
    assert [clean_key(key) for key in ("train/loss", "stop.reason", "a b")] == ["train/loss", "stop.reason", "a b"]


def test_cut_marks_what_was_cut() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
