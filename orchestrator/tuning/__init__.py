"""The Ray side: adapters that translate between Ray Tune, the decisions and the training of one trial."""
