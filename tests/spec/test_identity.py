"""Identity: one text per value, stable fingerprints, names that people can read."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.records import TrialConfig
from orchestrator.spec.trial.identity import (
    canonical_json,
    difference,
    digest,
    short_number,
    trial_fingerprint,
    trial_name,
)

CONFIG = TrialConfig(method="lora", effective_batch_size=64, learning_rate=3e-4, samples=2048, method_options={"r": 16})

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(plain)
def test_canonical_json_comes_back(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_canonical_json_does_not_depend_on_key_order(values: dict[str, int]) -> None:
    assert canonical_json(values) == canonical_json(dict(reversed(values.items())))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_canonical_json_refuses_what_is_no_number(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": [value]})


def test_canonical_json_refuses_objects() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        canonical_json({"a": object()})


def test_fingerprint_never_changes() -> None:
    # A changed fingerprint would make every stored sweep train its trials again.
    assert trial_fingerprint(CONFIG) == digest(json.loads(json.dumps(CONFIG.as_dict())), 10)
    assert trial_fingerprint(CONFIG) == "b539ef673f"


@given(st.floats(1e-7, 1.0), st.integers(1, 512), st.integers(0, 5))
def test_fingerprint_survives_a_round_trip_through_json(rate: float, size: int, seed: int) -> None:
    config = replace(CONFIG, learning_rate=rate, effective_batch_size=size, seed=seed)
    assert trial_fingerprint(TrialConfig.from_dict(json.loads(json.dumps(config.as_dict())))) == trial_fingerprint(
        config
    )


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"method_options": {"r": 8}}, {"clip_norm": None}, {"learning_rate": 3.0001e-4}, {"samples": 1}],
)
def test_fingerprint_tells_configurations_apart(change: dict[str, object]) -> None:
    assert trial_fingerprint(replace(CONFIG, **change)) != trial_fingerprint(CONFIG)


def test_trial_name_shows_what_varies_in_the_sweep() -> None:
    assert trial_name(CONFIG) == "lora r16 lr3e-4 ebs64 s0"
    other = replace(
        CONFIG,
        schedule="cosine",
        warmup_unit="samples",
        warmup_amount=2048,
        data_strategy="phased",
        weight_decay=0.1,
        method_options={"r": 8, "lora_alpha": 16, "use_rslora": True},
        clip_norm=None,
        seed=2,
    )
    assert trial_name(other) == "lora r8 lr3e-4 ebs64 s2"
    varied = {"schedule", "warmup", "data_strategy", "weight_decay", "option.use_rslora", "clip_norm"}
    name = trial_name(other, varied)
    assert name.startswith("lora r8 use_rslora lr3e-4 ebs64 cosine warms2048 phased ")
    assert "0.1" in name
    assert "None" in name
    assert "16" not in name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3e-4, "3e-4"),
        (1.25e-5, "1.25e-5"),
        (64.0, "64"),
        (0.05, "0.05"),
        (2048, "2048"),
        (2.5e7, "2.5e7"),
        (1234.5, "1.23e3"),
    ],
)
def test_short_number(value: float, text: str) -> None:
    assert short_number(value) == text


def test_difference_names_dotted_fields() -> None:
    assert difference({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5}) == [
        "a.c: 2 -> 4",
        "d: 3 -> null",
        "e: null -> 5",
    ]
