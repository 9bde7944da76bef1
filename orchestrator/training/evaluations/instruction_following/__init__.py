"""Instructions whose keeping a program can check (IFEval's rules)."""
