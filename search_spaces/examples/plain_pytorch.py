"""Plain PyTorch: a small network that reads handwritten digits (scikit-learn's, 8 x 8 pixels)."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


def train(trial):
    """Train one trial of the sweep in plain_pytorch.yaml."""
    torch.manual_seed(trial.seed)
    (train_x, train_y), (test_x, test_y) = digits()
    model = nn.Sequential(
        nn.Linear(64, trial.params["width"]),
        nn.ReLU(),
        nn.Dropout(trial.params["dropout"]),
        nn.Linear(trial.params["width"], 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=trial.config.weight_decay)
    order = torch.Generator().manual_seed(trial.seed)

    folder = trial.latest_checkpoint()  # None where the trial starts
    if folder is not None:
        state = torch.load(folder / "state.pt", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        order.set_state(state["order"])

    while trial.samples_seen < trial.samples:
        seen = min(trial.samples_seen + trial.effective_batch_size, trial.samples)
        rows = torch.randint(len(train_x), (seen - trial.samples_seen,), generator=order)
        step = trial.samples_seen // trial.effective_batch_size
        optimizer.param_groups[0]["lr"] = trial.learning_rate_at(step)
        loss = nn.functional.cross_entropy(model(train_x[rows]), train_y[rows])
        optimizer.zero_grad()
        loss.backward()
        grad_norm = nn.utils.clip_grad_norm_(model.parameters(), trial.config.clip_norm or float("inf"))
        optimizer.step()

        scores = None
        if trial.reaches_milestone(seen):
            scores = evaluate(model, test_x, test_y)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            state |= {"random": torch.get_rng_state(), "order": order.get_state()}
            with trial.save_checkpoint(seen) as folder:
                torch.save(state, folder / "state.pt")
        trial.report(samples_seen=seen, loss=loss.item(), grad_norm=grad_norm.item(), scores=scores)
        if trial.should_stop():
            return


def digits():
    """Return training and test images, each ``(rows, 64)`` in [0, 1], with their labels."""
    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(pixels / 16.0, labels, test_size=0.25, random_state=0)
    train_x, test_x = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    train_y, test_y = (torch.tensor(part) for part in parts[2:])
    return (train_x, train_y), (test_x, test_y)


def evaluate(model, pixels, labels):
    """Return mean cross-entropy and accuracy."""
    model.eval()
    with torch.no_grad():
        logits = model(pixels)
    model.train()
    accuracy = (logits.argmax(-1) == labels).float().mean().item()
    return {"eval/loss": nn.functional.cross_entropy(logits, labels).item(), "eval/accuracy": accuracy}
