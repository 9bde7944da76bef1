"""A new method is one entry and one class: catalogue, checks, search space, pages and training follow by themselves."""

from dataclasses import replace

import pytest
import torch

from orchestrator.errors import OrchestratorError, SpecError
from orchestrator.spec.methods import catalogue, entries
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.training.methods import build_method
from tests.worlds.methods_support import Run
from tests.worlds.toy_method import ENTRY, OneMatrix


@pytest.fixture(autouse=True)
def one_matrix(monkeypatch):
    monkeypatch.setitem(entries.ENTRIES, "one_matrix", ENTRY)


def test_the_catalogue_knows_it():
    info = catalogue.method_info("one_matrix")
    assert catalogue.METHODS["one_matrix"] is info
    assert info.learning_rate == pytest.approx((1e-5, 1e-3))
    assert info.default_options == {"kind": "query", "block": 0}
    assert info.options["kind"].choices == ("query", "down")
    assert (info.options["block"].low, info.options["block"].high) == (0, 99)
    assert [row["what it trains"] for row in catalogue.method_summary_table()][-1] == "one matrix"


def test_a_near_miss_is_led_to_it():
    with pytest.raises(SpecError, match="id you mean 'one_matrix'"):
        catalogue.method_info("one_matrx")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "quary"}, "one_matrix.kind.*id you mean 'query'"),
        ({"block": 100}, "one_matrix.block = 100.*at most 99"),
        ({"blok": 1}, "one_matrix.blok.*id you mean 'block'"),
        ({"kind": "down", "block": 1}, "only one of kind and block"),
    ],
)
def test_its_options_are_checked_as_those_of_every_method(options, words):
    with pytest.raises(SpecError, match=words):
        catalogue.check_options("one_matrix", options)


def test_a_search_space_takes_it_with_domains_and_its_own_rates():
    body = {"method": {"one_matrix": {"block": [0, 1]}}, "effective_batch_size": 8}
    space = SearchSpace.model_validate(body)
    assert space.varied == {"option.block", "learning_rate"}
    rates = space.learning_rate_of("one_matrix")
    assert (rates.low, rates.high) == pytest.approx((1e-5, 1e-3))
    with pytest.raises(ValueError, match="at most 99"):
        SearchSpace.model_validate({**body, "method": {"one_matrix": {"block": [0, 100]}}})


def test_it_trains_what_it_says_and_nothing_else():
    assert isinstance(build_method("one_matrix"), OneMatrix)
    run = Run.start("one_matrix", {"block": 1})
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    run.step(0, 1)
    moved = [name for name, parameter in run.model.named_parameters() if not torch.equal(parameter, before[name])]
    assert moved == ["model.layers.1.self_attn.q_proj.weight"]


def test_its_page_is_written():
    generate = pytest.importorskip("docs.generate")
    page = generate.methods_page()
    assert f"There are {len(catalogue.METHODS)}." in page
    assert "### one_matrix" in page
    assert "| `block` | int (>= 0, <= 99) | `0` |" in page


@pytest.mark.parametrize("place", ["tests.worlds.toy_method:Nothing", "tests.worlds.toy_method:OneMatrixOptions"])
def test_an_entry_that_names_no_class_of_a_method_is_refused(monkeypatch, place):
    monkeypatch.setitem(entries.ENTRIES, "one_matrix", replace(ENTRY, implementation=place))
    with pytest.raises(OrchestratorError, match=r"'one_matrix'.*must name a subclass of Method"):
        build_method("one_matrix")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "wieghts"}, "family must be one of"),
        ({"centre": 0.0}, "above 0"),
        ({"implementation": catalogue.method_entry("oft").implementation}, "names its class"),
    ],
)
def test_a_wrong_entry_fails_where_it_is_written(change, words):
    with pytest.raises(ValueError, match=words):
        replace(ENTRY, **change)
