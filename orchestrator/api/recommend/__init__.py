"""``recommend``: a search space to begin with."""
