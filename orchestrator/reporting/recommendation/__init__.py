"""A search space for a model, data and a budget: from the paper's guidance, published rules and past sweeps. Pure."""
