import subprocess
import sys

import pytest

from orchestrator.errors import DataError
from orchestrator.testbed.sources import SOURCES, is_reference, load_rows


@pytest.mark.parametrize("name", SOURCES)
def test_load_rows_resolves_every_name_with_its_default_size_and_the_asked_size(name):
    assert len(load_rows(f"testbed:{name}")) == SOURCES[name].rows
    rows = load_rows(f"testbed:{name}?rows=31")
    assert len(rows) == 31
    assert rows == load_rows(f"testbed:{name}?rows=31")
    assert rows != load_rows(f"testbed:{name}?rows=31&sample_seed=1")
    assert rows != load_rows(f"testbed:{name}?rows=31&seed=5")


def test_load_rows_sft_is_the_two_phases_mixed():
    key = str
    mixed = sorted(map(key, load_rows("testbed:sft")))
    assert mixed == sorted(map(key, load_rows("testbed:knowledge_sft") + load_rows("testbed:skills_sft")))


def test_load_rows_evaluation_shares_no_question_with_training():
    def questions(reference):
        return {row["messages"][0]["content"] for row in load_rows(reference)}

    trained = questions("testbed:sft?rows=4000")
    assert not trained & questions("testbed:knowledge?rows=2000")
    assert not trained & questions("testbed:skills?rows=700")


def test_load_rows_have_the_messages_shape_with_kind_and_phase():
    row = load_rows("testbed:sft?rows=5&people=50")[0]
    assert [m["role"] for m in row["messages"]] == ["user", "assistant"]
    assert row["kind"].startswith(row["phase"] + "/")
    assert load_rows("testbed:biographies?rows=2")[0].keys() == {"text"}


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("testbed:knowlege", "did you mean 'knowledge'"),
        ("testbed:sft?peeple=4", "did you mean 'people'"),
        ("testbed:sft?people=many", "must be a number"),
        ("testbed:sft?people=1", "must be from 4"),
        ("testbed:sft?rows=0", "must be 1 or more"),
        ("testbed:knowledge?people=4&rows=500", "different questions"),
    ],
)
def test_load_rows_wrong_reference_is_one_clear_error(reference, said):
    with pytest.raises(DataError) as caught:
        load_rows(reference)
    assert said.lower() in str(caught.value).lower()


def test_is_reference_takes_only_the_prefix():
    assert is_reference("testbed:sft")
    assert not is_reference("testbed")


def test_sources_import_no_heavy_library():
    code = (
        "import sys, orchestrator.testbed.sources as s; s.load_rows('testbed:sft?rows=4');"
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'ray', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", SOURCES)
def test_load_rows_skip_leaves_out_the_rows_of_the_draw_before_it(name):
    def shown(reference):
        return {str(row.get("messages") or row["text"]) for row in load_rows(reference)}

    first, after = shown(f"testbed:{name}?rows=40"), shown(f"testbed:{name}?rows=20&skip=40")
    assert len(after) == 20
    assert not first & after
    assert first | after == shown(f"testbed:{name}?rows=60")


def test_load_rows_refuses_a_negative_skip():
    with pytest.raises(DataError, match="skip"):
        load_rows("testbed:sft?skip=-1")
