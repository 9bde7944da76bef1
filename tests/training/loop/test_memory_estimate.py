import pytest
import torch

from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.training.loop.batches import pad_rows
from orchestrator.training.loop.loss import make_answer_loss
from orchestrator.training.loop.memory_estimate import GIB, ModelShape, estimate_memory
from orchestrator.training.methods import MethodContext, build_method
from tests.worlds.trial_world import MemoryRows, tiny_model

FLOAT32 = TrainingSettings(precision="float32")


def saved_bytes(model, batch):
    """Bytes that autograd keeps between forward and backward, weights left out, shared storage once."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    loss = make_answer_loss(model, chunk_tokens=64, full_logits=False, keep_mask=False)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss.sum(batch)
    return sum(size for size, _ in storages.values())


@pytest.mark.parametrize("architecture", ["Llama", "Qwen2", "GPTNeoX", "Granite"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("width", [64, 256])
def test_activation_estimate_is_within_a_factor_of_two(architecture, method, width):
    model = tiny_model(architecture, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=4)
    model = build_method(method).wrap_model(model, MethodContext(steps=1)).train()
    rows = MemoryRows(16, longest=60)
    batch = pad_rows(rows, range(16), 0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    shape = ModelShape.of(model)
    estimate = estimate_memory(shape, trained, FLOAT32, micro_batch_tokens=batch.padded_tokens)
    measured = saved_bytes(model, batch) / GIB
    assert 0.5 < estimate.activations / measured < 2.0


def test_fixed_parts_of_the_estimate_are_exact():
    model = tiny_model()
    parameters = sum(p.numel() for p in model.parameters())
    estimate = estimate_memory(ModelShape.of(model), parameters, FLOAT32, micro_batch_tokens=0)
    assert estimate.weights == estimate.gradients == parameters * 4 / GIB
    assert estimate.optimizer == parameters * 8 / GIB
    assert estimate.activations == 0
    parts = (estimate.weights, estimate.gradients, estimate.optimizer, estimate.activations, estimate.logits)
    assert estimate.total == pytest.approx(sum(parts))


def test_estimate_of_an_8b_model_is_plausible():
    with torch.device("meta"):
        model = tiny_model(
            vocab_size=128_256,
            hidden_size=4096,
            intermediate_size=14_336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
        )
    shape = ModelShape.of(model)
    full = estimate_memory(shape, shape.parameters, TrainingSettings(), micro_batch_tokens=8192, on_gpu=True)
    assert shape.parameters == pytest.approx(8.03e9, rel=0.01)
    assert full.weights + full.gradients + full.optimizer == pytest.approx(8.03 * 18 / 1.0737, rel=0.01)
    lora = estimate_memory(shape, 20_000_000, TrainingSettings(), micro_batch_tokens=8192, on_gpu=True)
    assert lora.weights == pytest.approx(8.03 * 2 / 1.0737, rel=0.02)
    saving = TrainingSettings(gradient_checkpointing=True)
    saved = estimate_memory(shape, 20_000_000, saving, micro_batch_tokens=8192, on_gpu=True)
    assert saved.activations < lora.activations / 8


def test_estimate_refuses_unknown_optimizers_and_negative_counts():
    shape = ModelShape.of(tiny_model())
    with pytest.raises(ValueError, match="optimizer = 'sgd': must be one of adamw"):
        estimate_memory(shape, 1, FLOAT32, micro_batch_tokens=1, optimizer="sgd")
    with pytest.raises(ValueError, match="at least 0, got -1 and 1"):
        estimate_memory(shape, -1, FLOAT32, micro_batch_tokens=1)
