"""``run``: from a checked sweep to a result, in one session or in several."""
