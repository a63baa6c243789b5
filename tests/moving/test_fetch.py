from __future__ import annotations

import gc
from ssl import SSLSocket

import pytest

from moving.addresses import is_public, resolve
from moving.exchange import FetchFailed
from moving.fetch import Fetcher
from tests.moving.relay import Fault, Relay, dripping_body, dripping_head, endless, hang, moved, status


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101", "2002:101:101::1"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.1.2.3", "100.64.0.1"),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fc00::1", "fe80::1", "fe80::1%eth0", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b:1::1"),
        "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo: the address of its client is 127.0.0.1
    ],
)
def test_no_other_address_is_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:7f00:1]"],
)
def test_no_spelling_of_a_private_address_is_downloaded_from(host: str) -> None:
    with pytest.raises(FetchFailed, match=r"has a private address|has no address"):
        Fetcher().get(f"https://{host}/a.jpg", most=1)


@pytest.mark.parametrize("host", ["\u2100", "a\uff0fb", f"{64 * 'é'}.example.com", "é..example.com"])
def test_a_host_whose_name_is_not_valid_is_refused(host: str) -> None:
    with pytest.raises(FetchFailed, match=r"^the name of the host is not valid$"):
        Fetcher().get(f"https://{host}/a.jpg", most=1)


def test_one_private_address_among_others_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moving.fetch.resolve", lambda *_: ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(FetchFailed, match="has a private address"):
        Fetcher().get("https://cdn.example.com/a.jpg", most=1)


def test_a_host_is_resolved_to_each_address_once() -> None:
    assert "127.0.0.1" in resolve("localhost", 443)
    assert resolve("127.0.0.1", 443) == ["127.0.0.1"]


@pytest.mark.usefixtures("trusted")
def test_a_redirect_to_a_private_address_is_not_followed(
    front: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = {"cdn.example.com": "127.0.0.1", "inside.example.com": "10.0.0.1"}
    monkeypatch.setattr("moving.fetch.resolve", lambda host, _: [addresses[host]])
    monkeypatch.setattr("moving.fetch.is_public", lambda address: address == "127.0.0.1")
    front.faults = [("/a.jpg", moved("https://inside.example.com/b.jpg"))]
    with (
        Fetcher() as fetcher,
        pytest.raises(FetchFailed, match=r"inside\.example\.com has a private address"),
    ):
        fetcher.get(front.cdn("/a.jpg"), most=1)


@pytest.mark.usefixtures("trusted")
def test_the_key_is_not_sent_to_another_host(front: Relay) -> None:
    front.files = {"/b.jpg": b"b"}
    front.faults = [("/a.jpg", moved(front.cdn("/b.jpg")))]
    with Fetcher(allow_private=True) as fetcher:
        assert fetcher.get(f"{front.url}/a.jpg", most=1, headers={"Authorization": "Bearer x"}) == b"b"
    assert front.seen == [("/a.jpg", "Bearer x"), ("/b.jpg", None)]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("fault", [dripping_head, dripping_body, hang])
def test_an_answer_that_never_ends_is_given_up(
    front: Relay, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr("moving.fetch.ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("moving.fetch._ATTEMPTS", 1)
    front.faults = [("/a.jpg", fault)]
    with Fetcher(allow_private=True) as fetcher, pytest.raises(FetchFailed, match=r"^no answer in time$"):
        fetcher.get(front.cdn("/a.jpg"), most=1000_000)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (endless, "the answer has more than 1000 bytes"),
        (status(200, Content_Length=str(1 << 40)), "the answer has more than 1000 bytes"),
        (moved("http://cdn.example.com/a.jpg"), "only https URLs are downloaded"),
        (moved("https://user:password@cdn.example.com/a.jpg"), "only https URLs are downloaded"),
        (moved("file:///etc/passwd"), "only https URLs are downloaded"),
        (moved(""), "more than 5 redirects"),
        (moved("https://[::1/a.jpg"), "it redirects to something that is not a URL"),
        (moved("//["), "it redirects to something that is not a URL"),
        (status(404), "the answer is HTTP 404"),
    ],
)
def test_an_answer_that_is_too_large_or_leads_elsewhere_is_refused(
    front: Relay, fault: Fault, reason: str
) -> None:
    front.faults = [("/a.jpg", fault)] * 6
    with Fetcher(allow_private=True) as fetcher, pytest.raises(FetchFailed) as failed:
        fetcher.get(front.cdn("/a.jpg"), most=1000)
    assert str(failed.value) == reason


@pytest.mark.usefixtures("trusted")
def test_a_body_of_exactly_the_limit_is_accepted(front: Relay) -> None:
    front.files = {"/a.jpg": bytes(1000), "/b.jpg": bytes(1001)}
    with Fetcher(allow_private=True) as fetcher:
        assert fetcher.get(front.cdn("/a.jpg"), most=1000) == bytes(1000)
        with pytest.raises(FetchFailed, match=r"more than 1000 bytes"):
            fetcher.get(front.cdn("/b.jpg"), most=1000)


@pytest.mark.usefixtures("trusted")
def test_connections_to_few_hosts_stay_open(front: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moving.fetch._KEPT_HOSTS", 2)
    front.files = {"/a.jpg": b"a"}
    urls = [f"https://{name}.cdn.example.com:{front.port}/a.jpg" for name in "abcdef"]
    with Fetcher(allow_private=True) as fetcher:
        for url in [*urls, *urls]:
            assert fetcher.get(url, most=1) == b"a"
        # isinstance() would ask the proxies that other tests have left for the class of what is gone.
        sockets = [each for each in gc.get_objects() if issubclass(type(each), SSLSocket)]
        sockets = [each for each in sockets if not each.server_side]
        assert sum(each.fileno() >= 0 for each in sockets) == 2


@pytest.mark.usefixtures("trusted")
def test_a_host_that_does_not_answer_is_left_alone(front: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moving.fetch._ATTEMPTS", 1)
    front.faults = [("/a.jpg", status(500))] * 10
    with Fetcher(allow_private=True) as fetcher:
        reasons = []
        for _ in range(7):
            with pytest.raises(FetchFailed) as failed:
                fetcher.get(front.cdn("/a.jpg"), most=1000)
            reasons.append(str(failed.value))
    left_alone = "cdn.example.com did not answer several times, so it is not asked again"
    assert reasons == ["the answer is HTTP 500"] * 5 + [left_alone] * 2
    assert len(front.seen) == 5
