"""From a search space to configurations: the full grid, and the image of a point of the unit cube."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator.errors import SpecError
from orchestrator.records import HYPERPARAMETERS, TrialConfig
from orchestrator.spec.search_space.domains import Domain, Fixed
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.dimensions import OPTION, build_config, read_value, value_of


def grid_configs(space: SearchSpace, samples: int, where: str = "sweep file") -> list[TrialConfig]:
    """Return every configuration of a finite search space, methods in the order written.

    Raises:
        SpecError: If a range has no ``points``, so that the grid would be infinite.
    """
    configs: list[TrialConfig] = []
    for method in space.method:
        names, columns = [], []
        for name, domain in space.dimensions(method).items():
            values = domain.grid()
            if values is None:
                raise SpecError(
                    where,
                    f"search_space.{name.removeprefix('option.')}",
                    domain.to_yaml(),
                    f"the grid searcher needs finite domains, and this range of method '{method}' is continuous",
                    "add points, e.g. {log_uniform: [1e-5, 1e-3], points: 5}, or use searcher: sobol",
                )
            names.append(name)
            columns.append(values)
        for values in itertools.product(*columns):
            configs.append(build_config(method, dict(zip(names, values, strict=True)), samples))
    return list(with_repeats(configs, space.repeats))


def count_configs(space: SearchSpace) -> int | None:
    """Return how many configurations (repeats counted) a searcher can draw; None for a continuous space.

    A range with ``points`` counts as continuous: only the grid searcher keeps to its points.
    """
    total = 0
    for method in space.method:
        sizes = [domain.size() for domain in space.dimensions(method).values()]
        if None in sizes:
            return None
        total += math.prod(size for size in sizes if size is not None)
    return total * space.repeats


def holds(space: SearchSpace, config: TrialConfig) -> bool:
    """Whether a configuration lies in a search space, as a searcher could have drawn it (repeats counted)."""
    if config.method not in space.method:
        return False
    dimensions = space.dimensions(config.method)
    own = {name.removeprefix("option.") for name in dimensions if name.startswith("option.")}
    return own == set(config.method_options) and all(
        _takes(domain, name, config, space.repeats) for name, domain in dimensions.items()
    )


def _takes(domain: Domain, name: str, config: TrialConfig, repeats: int) -> bool:
    if name == "seed":
        return any(domain.contains(config.seed - repeat) for repeat in range(repeats))
    if name in HYPERPARAMETERS:
        return domain.contains(getattr(config, name))
    value = value_of(config, name)
    if name.startswith(OPTION):
        return domain.contains(value)
    return value in [read_value(name, each) for each in domain.grid() or ()]


def with_repeats(configs: Sequence[TrialConfig], repeats: int) -> Iterator[TrialConfig]:
    """Yield every configuration with seeds seed, seed + 1, ..., all first repeats before all second ones."""
    for repeat in range(repeats):
        for config in configs:
            yield replace(config, seed=config.seed + repeat)


def cube_dimensions(space: SearchSpace) -> int:
    """Return how many coordinates `config_at` reads: one for the method, then the longest list of free domains."""
    free = (sum(not isinstance(d, Fixed) for d in space.dimensions(m).values()) for m in space.method)
    return 1 + max(free)


def config_at(space: SearchSpace, point: Sequence[float], samples: int) -> TrialConfig:
    """Map a point of the unit cube to a configuration; the first coordinate chooses the method.

    Raises:
        ValueError: If the point has fewer coordinates than `cube_dimensions`.
    """
    needed = cube_dimensions(space)
    if len(point) < needed:
        raise ValueError(f"a point of this search space needs {needed} coordinates, got {len(point)}")
    methods = list(space.method)
    method = methods[min(int(point[0] * len(methods)), len(methods) - 1)]
    coordinates = iter(point[1:])
    values = {
        name: domain.at(0.0) if isinstance(domain, Fixed) else domain.at(next(coordinates))
        for name, domain in space.dimensions(method).items()
    }
    return build_config(method, values, samples)
