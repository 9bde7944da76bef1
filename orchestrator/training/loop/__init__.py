"""One trial's training: steps, batches, loss, optimizer, checkpoints, memory."""
