"""Domains: the unit interval maps into the domain, grids are members, YAML forms come back unchanged."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.search_space.domains import Choice, Domain, Fixed, Integer, Uniform, parse_domain

scalars = st.one_of(st.none(), st.booleans(), st.integers(-100, 100), st.floats(-1e3, 1e3), st.text(max_size=4))
units = st.floats(0, 1)


@st.composite
def uniforms(draw: st.DrawFn) -> Uniform:
    log = draw(st.booleans())
    ends = st.floats(1e-6, 1e3) if log else st.floats(-1e3, 1e3)
    low, high = sorted((draw(ends), draw(ends)))
    quantum = draw(st.one_of(st.none(), st.sampled_from([0.05, 0.25, 1.0, 3.0])))
    if quantum is not None and math.ceil(low / quantum) * quantum > high:
        high = low + quantum
    return Uniform(low, high, log, quantum, draw(st.one_of(st.none(), st.integers(1, 9))))


@st.composite
def integers(draw: st.DrawFn) -> Integer:
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -50, 50))
    return Integer(low, low + draw(st.integers(0, 200)), draw(st.integers(1, 9)), log)


choices = st.lists(scalars, min_size=1, max_size=5, unique_by=repr).map(
    lambda values: Choice(tuple(v for i, v in enumerate(values) if v not in values[:i]))
)
domains = st.one_of(scalars.map(Fixed), choices, uniforms(), integers())


@given(domains, units)
def test_domain_at_any_unit_lies_inside(domain: Domain, unit: float) -> None:
    assert domain.contains(domain.at(unit))


@given(domains)
def test_domain_grid_lists_members_once(domain: Domain) -> None:
    grid = domain.grid()
    if grid is not None:
        assert grid
        assert all(domain.contains(value) for value in grid)
        assert len({(type(value), value) for value in grid}) == len(grid)


@given(domains)
def test_domain_comes_back_from_its_yaml_form(domain: Domain) -> None:
    assert parse_domain(domain.to_yaml()) == domain


@given(integers(), st.data())
def test_integer_reaches_every_value(domain: Integer, data: st.DataObject) -> None:
    wanted = data.draw(st.sampled_from(domain.grid()))
    drawn = {domain.at(index / 20_000) for index in range(20_000)}
    assert wanted in drawn
    assert domain.size() == len(domain.grid())


def test_uniform_ends_are_reached() -> None:
    domain = Uniform(1e-5, 1e-3, log=True)
    assert (domain.at(0.0), domain.at(0.5), domain.at(1.0)) == (1e-5, 1e-4, 1e-3)


def test_quantised_range_holds_multiples_only() -> None:
    domain = Uniform(0.3, 1.1, quantum=0.25)
    assert domain.grid() == (0.5, 0.75, 1.0)
    assert {domain.at(index / 100) for index in range(101)} == {0.5, 0.75, 1.0}
    assert not domain.contains(0.6)
    assert domain.size() == 3


def test_large_quantised_values_stay_multiples() -> None:
    assert Uniform(0, 99_999, quantum=3).at(0.12345) % 3 == 0


def test_grid_points_include_both_ends() -> None:
    assert Uniform(1e-5, 1e-3, log=True, points=3).grid() == (1e-5, 1e-4, 1e-3)
    assert Uniform(0.0, 1.0, points=1).grid() == (0.5,)
    assert Uniform(0.0, 1.0).grid() is None


def test_quoted_scientific_numbers_are_numbers() -> None:
    assert parse_domain({"log_uniform": ["1e-5", "1e-3"]}) == Uniform(1e-5, 1e-3, log=True)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([], "at least one value"),
        ([1, 2, 1], "appears twice"),
        ({"uniform": [2, 1]}, "low <= high"),
        ({"integer": [2, 1]}, "low <= high"),
        ({"log_uniform": [0, 1]}, "above 0"),
        ({"log_uniform": [-1, 1]}, "above 0"),
        ({"integer": [0, 4], "log": True}, "above 0"),
        ({"integer": [0, 4], "log": "no"}, "true or false"),
        ({"integer": [0, 4.5]}, "whole number"),
        ({"integer": [0, math.inf]}, "whole number"),
        ({"integer": [0, 4], "step": 0}, "step must be >= 1"),
        ({"uniform": [0, math.inf]}, "finite"),
        ({"uniform": [0, math.nan]}, "finite"),
        ({"uniform": [True, 2]}, "low must be a number"),
        ({"uniform": [0, "x"]}, "high must be a number"),
        ({"uniform": [0, 1, 2]}, r"\[low, high\]"),
        ({"uniform": 3}, r"\[low, high\]"),
        ({"uniform": [0, 1], "quantum": 0}, "quantum must be > 0"),
        ({"uniform": [0, 1], "quantum": math.nan}, "quantum must be > 0"),
        ({"uniform": [0.1, 0.2], "quantum": 1}, "no multiple"),
        ({"uniform": [0, 1], "points": 0}, "points must be >= 1"),
        ({"uniform": [0, 1], "point": 3}, "did you mean 'points'"),
        ({"loguniform": [1, 2]}, "did you mean 'log_uniform'"),
        ({"uniform": [0, 1], "integer": [0, 1]}, "exactly one of"),
        ({"choice": "abc"}, "needs a list"),
        ({"fixed": 1, "step": 2}, "takes no further keys"),
    ],
)
def test_parse_domain_refuses(written: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_domain(written)
