import json

import pytest
import torch

from orchestrator.errors import CheckpointError
from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.training.loop.checkpoints import complete_checkpoint, load_checkpoint
from tests.worlds.trial_world import MemoryRows, make_trial, tiny_config, weights_of

SETTINGS = TrainingSettings(micro_batch_tokens=64)
METHODS = {
    "full": {},
    "bitfit": {},
    "llrd": {},
    "lora": {},
    "lora_dropout": {"method": "lora", "method_options": {"r": 4, "lora_dropout": 0.3}},
    "adalora": {},
    "prompt_tuning": {},
}


def a_trial(name="full", **changes):
    options = {"method": name, "schedule": "cosine", "weight_decay": 0.1, **METHODS[name], **changes}
    return make_trial(tiny_config(**options), rows=MemoryRows(40), settings=SETTINGS)


@pytest.mark.parametrize("name", METHODS)
def test_resumed_trial_equals_the_uninterrupted_one_bit_for_bit(tmp_path, name):
    whole = a_trial(name)
    expected = whole.advance(80).signals
    first = a_trial(name)
    before = first.advance(40).signals
    first.save(tmp_path / "checkpoint")
    second = a_trial(name)
    torch.rand(7)
    second.load(tmp_path / "checkpoint")
    assert second.samples_seen == 40
    assert (*before, *second.advance(80).signals) == expected
    wanted = weights_of(whole)
    assert all(torch.equal(weight, wanted[key]) for key, weight in weights_of(second).items())


def test_resumed_trial_keeps_its_micro_batch_budget(tmp_path):
    first = a_trial()
    first.token_budget = 33
    first.save(tmp_path / "checkpoint")
    second = a_trial()
    second.load(tmp_path / "checkpoint")
    assert second.token_budget == 33


def test_saving_twice_replaces_the_checkpoint_and_leaves_nothing_else(tmp_path):
    trial = a_trial()
    trial.save(tmp_path / "checkpoint")
    trial.advance(16)
    trial.save(tmp_path / "checkpoint")
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]
    assert load_checkpoint(tmp_path / "checkpoint").state["samples_seen"] == 16


def test_checkpoint_holds_adapter_weights_only(tmp_path):
    trial = a_trial("lora")
    trial.save(tmp_path / "checkpoint")
    assert all("lora_" in name for name in load_checkpoint(tmp_path / "checkpoint").weights)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["remove", "cut", "flip"])
def test_load_refuses_a_damaged_checkpoint(tmp_path, name, harm):
    trial = a_trial("lora")
    trial.advance(8)
    folder = tmp_path / "checkpoint"
    trial.save(folder)
    assert complete_checkpoint(folder)
    path = folder / name
    content = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    if harm != "flip" and name != "manifest.json":
        assert not complete_checkpoint(folder)
    with pytest.raises(CheckpointError):
        a_trial("lora").load(folder)


def test_load_refuses_the_checkpoint_of_another_configuration(tmp_path):
    a_trial().save(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match="of another configuration: learning_rate, seed"):
        a_trial(learning_rate=1.0, seed=5).load(tmp_path / "checkpoint")


def test_load_refuses_a_folder_that_is_not_there(tmp_path):
    assert not complete_checkpoint(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"no readable manifest\.json"):
        a_trial().load(tmp_path / "none")


def test_a_failed_save_leaves_nothing_behind(tmp_path):
    class Peculiar:
        """An optimizer whose state no checkpoint can hold."""

        def state_dict(self):
            return {"state": {0: {"helper": object()}}, "param_groups": []}

    trial = a_trial()
    trial._runner.optimizer = Peculiar()
    with pytest.raises(CheckpointError, match="state 'helper' is a object, which a checkpoint cannot hold"):
        trial.save(tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []


def test_manifest_names_every_file_with_size_and_digest(tmp_path):
    a_trial().save(tmp_path / "checkpoint")
    manifest = json.loads((tmp_path / "checkpoint" / "manifest.json").read_text())
    assert set(manifest["files"]) == {"weights.safetensors", "optimizer.safetensors", "state.json"}
    assert all(set(entry) == {"bytes", "sha256"} for entry in manifest["files"].values())
