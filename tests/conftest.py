"""Settings of all tests."""

from hypothesis import settings

# How long a case takes depends on what else the machine does; time is never judged in a test.
settings.register_profile("orchestrator", deadline=None)
settings.load_profile("orchestrator")
