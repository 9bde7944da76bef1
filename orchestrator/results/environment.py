"""What reports read of the recorded environment of a sweep."""

from __future__ import annotations

from collections.abc import Mapping


def package_versions(environment: Mapping[str, object]) -> dict[str, str]:
    """Return the versions of the packages that a sweep ran with; empty where an older version recorded none."""
    found = environment.get("versions")
    return {str(name): str(version) for name, version in found.items()} if isinstance(found, Mapping) else {}
