"""Tables and progress in the terminal, one module a command."""
