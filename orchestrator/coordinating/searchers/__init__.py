"""What proposes configurations: grid, random, Sobol, and Optuna's samplers behind one contract."""
