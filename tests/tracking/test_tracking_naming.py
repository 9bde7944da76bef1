"""Names, parameters and tags a person reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_tag_name

from orchestrator.records import TrialConfig
from orchestrator.tracking.naming import clean_key, config_params, cut


def test_config_params_are_flat_and_complete() -> None:
    config = TrialConfig("lora", 64, 3e-4, 1000, method_options={"r": 16, "target_modules": ["q", "v"]})
    params = config_params(config)
    assert params["lora.r"] == 16
    assert params["lora.target_modules"] == "['q', 'v']"
    assert {"method", "samples", "seed", "clip_norm", "schedule"} <= set(params)
    assert "method_options" not in params


@given(st.text(max_size=400))
def test_clean_key_is_what_mlflow_takes(key: str) -> None:
    cleaned = clean_key(key)
    assert len(cleaned) <= 250
    _validate_metric_name(cleaned)
    _validate_tag_name(cleaned)


def test_clean_key_leaves_good_keys_alone() -> None:
    assert [clean_key(key) for key in ("train/loss", "stop.reason", "a b")] == ["train/loss", "stop.reason", "a b"]


def test_cut_marks_what_was_cut() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
