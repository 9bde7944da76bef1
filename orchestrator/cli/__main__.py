"""``python -m orchestrator.cli``, the same program as ``orchestrate``."""

from orchestrator.cli import main

if __name__ == "__main__":
    main()
