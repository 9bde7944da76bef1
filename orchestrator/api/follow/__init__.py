"""``status``, ``watch`` and ``ui``: how sweeps stand, from any process."""
