import math

import numpy as np
import pytest
import torch

from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.training.loop.gradient_noise import GradientSum, NoiseAverage, NoiseEstimate, estimate_noise
from tests.worlds.trial_world import MemoryRows, make_trial, tiny_config


def test_estimate_noise_is_unbiased_for_gaussian_gradients_in_unequal_micro_batches():
    generator = np.random.default_rng(0)
    true_gradient = np.array([0.6, -0.8, 0.0, 1.0])
    deviation = np.array([1.0, 2.0, 0.5, 1.5])
    sizes = np.array([3, 5, 16, 8])
    weights, samples = sizes / sizes.sum(), int(sizes.sum())
    traces, signals = [], []
    for _ in range(4000):
        means = true_gradient + deviation * generator.standard_normal((4, 4)) / np.sqrt(sizes)[:, None]
        whole = weights @ means
        estimate = estimate_noise((means**2).sum(1).tolist(), weights.tolist(), float(whole @ whole), samples)
        traces.append(estimate.trace)
        signals.append(estimate.signal)
    for values, truth in ((traces, (deviation**2).sum()), (signals, (true_gradient**2).sum())):
        error = np.std(values) / math.sqrt(len(values))
        assert abs(np.mean(values) - truth) < 4 * error


def test_noise_average_is_the_ratio_of_averages():
    average = NoiseAverage(decay=0.5)
    assert average.update(NoiseEstimate(4.0, 2.0)) == pytest.approx(2.0)
    assert average.update(NoiseEstimate(8.0, 0.0)) == pytest.approx(6.0 / 1.0)
    again = NoiseAverage(decay=0.5)
    again.load_state_dict(average.state_dict())
    assert again.update(NoiseEstimate(1.0, 1.0)) == average.update(NoiseEstimate(1.0, 1.0))


def test_noise_is_unknown_with_one_micro_batch_or_values_that_are_not_finite():
    assert estimate_noise([1.0], [1.0], 1.0, 8) is None
    assert estimate_noise([1.0, math.nan], [0.5, 0.5], 1.0, 8) is None
    assert NoiseAverage().update(None) is None
    assert NoiseAverage().update(NoiseEstimate(1.0, -1.0)) is None
    assert NoiseEstimate(1.0, -1.0).corrected_norm == 0.0


def test_gradient_sum_measures_each_backward_and_adds_up():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    idle = torch.nn.Parameter(torch.ones(1))
    gradients = GradientSum([weight, idle])
    gradients.start(measure=True)
    squares = []
    for factor in (1.0, 2.0, 3.0):
        (factor * weight.square().sum()).backward()
        squares.append(gradients.squared_norm().item())
    gradients.finish()
    assert squares == pytest.approx([20.0, 80.0, 180.0])
    torch.testing.assert_close(weight.grad, torch.tensor([12.0, 24.0]))
    assert idle.grad is None
    gradients.close()
    weight.square().sum().backward()
    assert weight.grad is not None


def test_trial_reports_noise_only_with_several_micro_batches():
    one = make_trial(settings=TrainingSettings(micro_batch_tokens=10_000)).advance(40).signals
    many = make_trial(settings=TrainingSettings(micro_batch_tokens=48)).advance(40).signals
    assert all(signal.noise_scale is None and signal.noise_corrected_grad_norm is None for signal in one)
    assert all(0 <= signal.noise_corrected_grad_norm <= signal.grad_norm * 1.001 for signal in many)


def test_trial_noise_matches_gradients_taken_sample_by_sample():
    config = tiny_config(effective_batch_size=16, samples=16, learning_rate=1e-4)
    rows = MemoryRows(16, longest=12)
    rows.rows = [3 + ids % 4 for ids in rows.rows]  # few words, so that the samples' gradients agree in part
    signal = make_trial(config, rows=rows, settings=TrainingSettings(micro_batch_tokens=1)).advance(16).signals[0]
    trial = make_trial(config, rows=rows)
    parameters = [p for p in trial.model.parameters() if p.requires_grad]
    means, counts = [], []
    for row in range(16):
        ids, answer = rows[row]
        logits = trial.model(input_ids=torch.from_numpy(ids).long()[None]).logits[0, :-1]
        keep = torch.from_numpy(answer[1:])
        loss = torch.nn.functional.cross_entropy(logits[keep], torch.from_numpy(ids[1:]).long()[keep])
        means.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]).double())
        counts.append(int(keep.sum()))
    weights = torch.tensor(counts).double() / sum(counts)
    whole = (weights[:, None] * torch.stack(means)).sum(0)
    within = (weights * torch.stack(means).square().sum(1)).sum()
    excess = (within - whole @ whole) / 15
    assert 0 < excess < whole @ whole, "rows that cannot tell would prove nothing"
    assert signal.grad_norm == pytest.approx(whole.norm().item(), rel=1e-5)
    assert signal.noise_corrected_grad_norm == pytest.approx((whole @ whole - excess).sqrt().item(), rel=1e-4)
    assert signal.noise_scale == pytest.approx((16 * excess / (whole @ whole - excess)).item(), rel=1e-3)
