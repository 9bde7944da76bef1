import math

import pytest

from orchestrator.decisions.early_dynamics.features import EarlyDynamics
from orchestrator.decisions.rules.early_dynamics import EarlyDynamicsRule, Peer, PeerGroups
from orchestrator.errors import SpecError


def peer(trial_id, norm, loss, *, batch=32, start=4.0, value=1.0, corrected=None):
    features = EarlyDynamics(256, 8, 256, 256.0, start, loss, loss, -0.001, loss / start, norm, corrected, 0, 0)
    return Peer(trial_id, batch, features, (0.0, value))


def weak_trials(rule, peers):
    groups = PeerGroups(rule)
    for one in peers:
        groups.add(one)
    found = {one.trial_id: groups.weakness(one.trial_id, "general/loss") for one in peers}
    return {trial_id: finding for trial_id, finding in found.items() if finding is not None}


def stopped(peers, **parameters):
    return set(weak_trials(EarlyDynamicsRule(enabled=True, **parameters), peers))


LADDER = [peer("a", 1.0, 3.5), peer("b", 2.0, 3.2), peer("c", 3.0, 2.5), peer("d", 4.0, 2.0, value=2.0)]


def test_early_dynamics_stops_high_norm_with_low_loss():
    found = weak_trials(EarlyDynamicsRule(enabled=True), LADDER)
    assert set(found) == {"d"}
    reason, evidence = found["d"].reason, found["d"].evidence
    for part in (
        "gradient norm 4",
        "cut-off 4",
        "median 2.85",
        "4 peers",
        "256 samples",
        "general/loss",
        "effective batch size 32",
    ):
        assert part in reason
    assert evidence["direction"] == "lower norm, higher loss"
    assert evidence["window_samples"] == 256


def test_early_dynamics_needs_both_signs():
    mixed = [peer("a", 1.0, 2.0), peer("b", 2.0, 2.5), peer("c", 3.0, 3.2), peer("d", 4.0, 3.5)]
    assert stopped(mixed) == set()
    assert stopped(mixed, signals="grad_norm") == {"d"}


def test_early_dynamics_stops_at_most_its_share():
    crowd = [peer(f"t{i}", 1.0 + i, 3.5 - 0.1 * i, value=float(i)) for i in range(12)]
    assert stopped(crowd) == {"t11", "t10", "t9"}
    assert len(stopped(crowd, drop=0.9)) == 6


def test_early_dynamics_never_stops_the_best():
    best_is_weak = [*LADDER[:3], peer("d", 4.0, 2.0, value=0.1)]
    assert "d" not in stopped(best_is_weak)


def test_early_dynamics_does_not_let_an_under_fitted_trial_be_the_yardstick():
    under_fitted = [peer(f"u{i}", 0.01, 3.99) for i in range(3)]
    assert stopped([*under_fitted, *LADDER[1:]]) == set()
    assert stopped([*under_fitted, *LADDER]) == {"d"}


def test_early_dynamics_compares_within_one_batch_size_unless_told():
    two_sizes = [
        peer("a", 1.0, 3.5, batch=512),
        peer("b", 1.1, 3.4, batch=512),
        peer("c", 3.0, 2.5),
        peer("d", 4.0, 2.0, value=9.0),
    ]
    assert stopped(two_sizes) == set()
    assert stopped(two_sizes, compare="cohort") == {"d"}


def test_early_dynamics_uses_the_noise_corrected_norm_only_where_all_have_it():
    corrected = [
        peer("a", 4.0, 3.5, corrected=1.0),
        peer("b", 3.0, 3.2, corrected=2.0),
        peer("c", 2.0, 2.5, corrected=3.0, value=2.0),
        peer("d", 1.0, 2.0, corrected=4.0, value=3.0),
    ]
    found = weak_trials(EarlyDynamicsRule(enabled=True), corrected)
    assert set(found) == {"d"}
    assert found["d"].evidence["signal"] == "noise-corrected gradient norm"
    assert stopped([*corrected[:3], peer("d", 1.0, 2.0)]) == set()


def test_early_dynamics_ignores_values_that_are_no_numbers_and_small_groups():
    assert stopped([*LADDER[:3], peer("d", math.nan, 2.0)]) == set()
    assert stopped(LADDER[1:]) == set()
    assert stopped([]) == set()


def test_early_dynamics_rule_finds_its_milestone_or_says_so():
    assert EarlyDynamicsRule(share=0.25).milestone([125, 249, 500, 1000]) == 1
    assert EarlyDynamicsRule(share=0.3).milestone([125, 250, 500, 1000]) == 2
    with pytest.raises(SpecError, match="Lower the share"):
        EarlyDynamicsRule(share=0.8).milestone([125, 250, 500, 1000])


@pytest.mark.parametrize(
    "wrong", [{"share": 0}, {"drop": 1}, {"min_cohort": 1}, {"min_learned": 1}, {"compare": "x"}, {"signals": "x"}]
)
def test_early_dynamics_rule_refuses_senseless_parameters(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EarlyDynamicsRule(**wrong)
