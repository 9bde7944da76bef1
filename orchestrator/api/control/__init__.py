"""``stop``, ``resume`` and ``clone``: control of a running sweep's trials."""
