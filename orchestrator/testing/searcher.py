"""What every searcher promises, as tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.coordinating.searchers.searcher import Searcher, SearchTask
from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.search_space.enumeration import holds
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.sweep import ObjectiveSpec, SearcherSpec
from orchestrator.spec.trial.identity import trial_fingerprint

SAMPLES = 64
WIDE: Mapping[str, object] = {
    "method": {
        "full": {"learning_rate": {"log_uniform": [1e-6, 1e-3]}},
        "lora": {"learning_rate": {"log_uniform": [1e-5, 1e-1]}, "r": {"integer": [4, 32], "log": True}},
    },
    "effective_batch_size": [8, 16],
    "schedule": ["constant", {"name": "wsd", "decay_share": 0.2}],
    "clip_norm": [None, 1],
}
FINITE: Mapping[str, object] = {
    "method": {"full": {"learning_rate": [1e-5, 1e-4, 1e-3]}, "lora": {"learning_rate": [1e-4, 1e-3, 1e-2], "r": 8}},
    "effective_batch_size": [8, 16],
}


class SearcherContract:
    """Override `make_searcher` at least; pytest runs the rest.

    Attributes:
        spec: The searcher's section of the sweep file, without its kind.
        objectives: What is searched for; several for a searcher of several objectives.
        wide: A search space with ranges; None for a searcher that takes finite spaces alone.
        trials: How many trials are asked of it.
        learns: It takes in what it is told. One that proposes a fixed list need not: a sweep passes over what it has.
    """

    spec: SearcherSpec = SearcherSpec(startup_trials=4)
    objectives: Sequence[ObjectiveSpec] = (ObjectiveSpec(metric="eval/loss"),)
    wide: Mapping[str, object] | None = WIDE
    trials: int = 12
    learns: bool = True

    def make_searcher(self, task: SearchTask) -> Searcher:
        """Return a new searcher; override it."""
        raise NotImplementedError

    # -- what the tests are made of ---------------------------------------------------------------

    def task(self, space: Mapping[str, object], **changes: object) -> SearchTask:
        """Return what a searcher over a space is made from."""
        found = SearchSpace.model_validate({**space, **changes})
        return SearchTask(found, self.spec, self.objectives, SAMPLES, self.trials)

    def spaces(self) -> Iterator[SearchTask]:
        """Yield a task for each kind of space that the searcher takes."""
        yield self.task(FINITE)
        if self.wide is not None:
            yield self.task(self.wide)

    # -- the promises -----------------------------------------------------------------------------

    def test_proposals_differ_and_lie_in_the_space(self) -> None:
        """Nothing is proposed twice, and nothing that the space does not hold."""
        for task in self.spaces():
            configs = draw(self.make_searcher(task), self.trials)
            assert len(configs) == self.trials, "the searcher gave up before the space was exhausted"
            assert len({trial_fingerprint(config) for config in configs}) == len(configs), "a trial is proposed twice"
            assert all(holds(task.space, config) for config in configs), "a proposal lies outside the search space"
            assert all(config.samples == task.samples for config in configs), "a proposal has another budget"

    def test_the_same_calls_give_the_same_proposals(self) -> None:
        """A second process that makes and tells the same hears the same."""
        for task in self.spaces():
            first, second = (draw(self.make_searcher(task), self.trials) for _ in range(2))
            assert first == second, "two searchers that heard the same propose differently"

    def test_a_finite_space_comes_to_its_end(self) -> None:
        """After the last configuration comes None, however often it is asked."""
        searcher = self.make_searcher(self.task(FINITE))
        assert len(draw(searcher, 100)) == 12, "the space holds 12 configurations"
        assert searcher.propose() is None
        assert searcher.propose() is None

    def test_it_is_rebuilt_by_telling(self) -> None:
        """What an earlier, interrupted process proposed is told to a new searcher, which goes on from there."""
        for task in self.spaces():
            earlier = draw(self.make_searcher(task), self.trials // 2, told=False)
            rebuilt = [self.make_searcher(task) for _ in range(2)]
            for searcher in rebuilt:
                for number, config in enumerate(earlier):
                    tell(searcher, config, number)
            first, second = (draw(searcher, self.trials // 2) for searcher in rebuilt)
            assert first == second, "two searchers that were told the same propose differently"
            if self.learns:
                known = {trial_fingerprint(config) for config in earlier}
                again = any(trial_fingerprint(config) in known for config in first)
                assert not again, "what the searcher was told of is proposed again"

    def test_telling_again_changes_nothing(self) -> None:
        """The journal is told whole at each restart, so the same may be told twice."""
        for task in self.spaces():
            once, twice = self.make_searcher(task), self.make_searcher(task)
            for searcher, times in ((once, 1), (twice, 2)):
                for number, config in enumerate(draw(searcher, self.trials // 2, told=False)):
                    for _ in range(times):
                        tell(searcher, config, number)
            assert draw(once, 4) == draw(twice, 4), "the same told twice changes what is proposed"


def draw(searcher: Searcher, count: int, told: bool = True) -> list[TrialConfig]:
    """Return so many proposals, fewer where the space ends; with ``told`` each is followed by its scores."""
    found: list[TrialConfig] = []
    while len(found) < count and (config := searcher.propose()) is not None:
        if told:
            tell(searcher, config, len(found))
        found.append(config)
    return found


def tell(searcher: Searcher, config: TrialConfig, number: int) -> None:
    """Tell of a trial's milestones: two in three are completed, the others wait or are stopped, every seventh fails."""
    if number % 7 == 6:
        searcher.tell(config, Outcome.FAILED)
        return
    early = Outcome.STOPPED if number % 2 else Outcome.PAUSED
    searcher.tell(config, Outcome.RUNNING if number % 3 else early, SAMPLES // 4, _scores(config, SAMPLES // 4))
    if number % 3:
        searcher.tell(config, Outcome.COMPLETED, SAMPLES, _scores(config, SAMPLES))


def _scores(config: TrialConfig, level: int) -> dict[str, float]:
    # Any formula will do that tells configurations apart.
    loss = 1 + abs(config.learning_rate - 1e-4) * 10 + config.effective_batch_size / 100 + 8 / level
    return {"eval/loss": loss, "other/loss": -config.learning_rate}
