"""What every stopping rule promises, as tests under replay of made sweeps."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence

from orchestrator.decisions.engine.policy import StoppingPolicy, built_in_rules
from orchestrator.decisions.objective import Objective
from orchestrator.decisions.rules.registry import RULES
from orchestrator.decisions.rules.rule import StoppingRule
from orchestrator.records import Decision
from orchestrator.simulation.engine.engine_scheduler import EngineScheduler
from orchestrator.simulation.engine.simulator import Clock, simulate
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.synthetic.sweeps import LOSS, synthetic_sweep

OBJECTIVE = Objective(LOSS)


class StoppingRuleContract:
    """Override `rule`; pytest runs the rest."""

    def rule(self) -> StoppingRule:
        """Return the rule with some options; override it."""
        raise NotImplementedError

    def sweeps(self) -> Iterator[RecordedSweep]:
        """Yield the sweeps that it is tried on."""
        yield from (synthetic_sweep(trials, seed) for trials, seed in ((2, 0), (12, 1), (24, 2)))

    def decisions(self, sweep: RecordedSweep, workers: int, alone: bool) -> Sequence[Decision]:
        """Return what is decided with the rule, after the default rules or alone."""
        rules = (self.rule(),) if alone else (*built_in_rules(), self.rule())
        scheduler = EngineScheduler(StoppingPolicy(rules))
        order = [trial.trial for trial in sweep.trials]
        simulate(sweep, scheduler, OBJECTIVE, Clock(workers=workers), order, seed=0)
        return scheduler.engine.decisions

    # -- the promises -----------------------------------------------------------------------------

    def test_it_is_a_record_of_its_options(self) -> None:
        """A frozen dataclass with a name of its own, which pickles."""
        rule = self.rule()
        assert hasattr(rule, "__dataclass_fields__"), "a rule is a dataclass of its options"
        assert rule.name not in RULES, f"{rule.name!r} is a rule of this package"
        assert pickle.loads(pickle.dumps(rule)) == rule

    def test_it_judges_sweeps_of_any_size_and_any_number_of_workers(self) -> None:
        """Also the smallest cohort, and trials that diverged."""
        for sweep in self.sweeps():
            for workers in (1, 4):
                for alone in (False, True):
                    assert self.decisions(sweep, workers, alone)

    def test_the_same_trials_are_judged_alike_again(self) -> None:
        """After a restart a rule hears everything again, and must find the same."""
        for sweep in self.sweeps():
            assert list(self.decisions(sweep, 2, False)) == list(self.decisions(sweep, 2, False))

    def test_it_leaves_the_winner_a_chance(self) -> None:
        """Some trial of each sweep is trained to its end."""
        for sweep in self.sweeps():
            ended = {each.trial_id for each in self.decisions(sweep, 2, False) if each.rule == self.rule().name}
            assert len(ended) < len(sweep.trials), "it stops every trial"
