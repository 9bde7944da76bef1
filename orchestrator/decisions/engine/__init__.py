"""The stopping engine: facts in, decisions out, each with its reason."""
