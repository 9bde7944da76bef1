"""When to stop a trial: pure functions and small state. Needs numpy and the standard library only."""
