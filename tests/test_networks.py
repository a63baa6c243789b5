"""Which network a request counts for, on a connection of its client and behind trusted proxies."""

from __future__ import annotations

import pytest

from worker.networks import forwarded_network, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (("192.0.2.7", 5000), "192.0.2.7"),
        (("::ffff:192.0.2.7", 5000, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5000, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::9", 5000, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:3::9", 5000, 0, 0), "2001:db8:1:3::/64"),
        (("fe80::1%eth0", 5000, 0, 2), "fe80::/64"),
        ("", ""),
        (b"", ""),
    ],
)
def test_an_ipv4_address_is_a_network_and_so_are_64_bits_of_ipv6(address: object, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("lines", "hops", "network"),
    [
        (["X-Forwarded-For: 192.0.2.7"], 1, "192.0.2.7"),
        (["x-forwarded-for:192.0.2.7 "], 1, "192.0.2.7"),
        (["X-Forwarded-For: 2001:db8:1:2::9"], 1, "2001:db8:1:2::/64"),
        (["X-Forwarded-For: 10.0.0.1, 192.0.2.7"], 1, "192.0.2.7"),
        (["X-Forwarded-For: 10.0.0.1, 192.0.2.7, 192.0.2.8"], 2, "192.0.2.7"),
        (["X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 192.0.2.7"], 1, "192.0.2.7"),
        (["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 192.0.2.8"], 2, "192.0.2.7"),
        (["X-Forwarded-For: 192.0.2.7"], 2, ""),
        (["X-Forwarded-For: 192.0.2.7, unknown"], 1, ""),
        (["X-Forwarded-For: "], 1, ""),
        (["X-Forwarded-For: \xff\r"], 1, ""),
        (["Forwarded: for=192.0.2.7", "Y-X-Forwarded-For: 192.0.2.7"], 1, ""),
    ],
)
@pytest.mark.parametrize("start", ["GET / HTTP/1.1", "\r\nGET / HTTP/1.1"])
def test_behind_proxies_the_entry_that_the_outermost_one_wrote_tells_the_network(
    lines: list[str], hops: int, network: str, start: str
) -> None:
    head = "\r\n".join([start, "Host: x", *lines, "", ""]).encode("latin-1")
    body = b"\r\nX-Forwarded-For: 10.9.9.9\r\n\r\n"
    assert forwarded_network(bytearray(head + body), hops) == network
