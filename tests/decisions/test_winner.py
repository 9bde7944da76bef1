import math

import pytest

from orchestrator.decisions.final.winner import Candidate, select_winner
from orchestrator.decisions.objective import Constraint, Objective


def test_winner_is_taken_from_the_largest_budget():
    found = select_winner(
        [Candidate("early", 500, {"l": 0.1}), Candidate("b", 1000, {"l": 2.0}), Candidate("a", 1000, {"l": 1.0})],
        Objective("l"),
    )
    assert found is not None
    assert found.level == 1000
    assert found.winner.trial_id == "a"
    assert found.runner_up is not None
    assert found.runner_up.trial_id == "b"


def test_winner_prefers_feasible_and_says_when_nobody_is():
    objective = Objective("acc", "max", (Constraint("f", at_most=0.1),))
    candidates = [Candidate("a", 1, {"acc": 0.9, "f": 0.3}), Candidate("b", 1, {"acc": 0.5, "f": 0.1})]
    found = select_winner(candidates, objective)
    assert found is not None
    assert found.winner.trial_id == "b"
    assert found.winner.feasible
    assert found.winner.value == 0.5
    alone = select_winner(candidates[:1], objective)
    assert alone is not None
    assert not alone.winner.feasible
    assert alone.runner_up is None
    assert alone.winner.violation == pytest.approx(2.0)


def test_winner_leaves_out_what_is_not_a_number():
    assert select_winner([Candidate("a", 1, {"l": math.nan})], Objective("l")) is None
    assert select_winner([], Objective("l")) is None
