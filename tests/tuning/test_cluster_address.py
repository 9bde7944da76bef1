"""Which addresses are this machine's own, and so may be sent this user's Ray token."""

import socket

import pytest

from orchestrator.tuning.clusters.existing import is_this_machine


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:6379", "localhost:1", "[::1]:6379", "127.8.9.1:6379"])
def test_own_addresses(address: str) -> None:
    if "::1" in address and not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    assert is_this_machine(address)


@pytest.mark.parametrize("address", ["203.0.113.7:6379", "198.51.100.1:6379", "no-such-host.invalid:6379"])
def test_addresses_of_other_machines(address: str) -> None:
    assert not is_this_machine(address)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
