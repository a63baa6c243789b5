"""Which URLs are https URLs, and which host they address."""

from __future__ import annotations

import pytest

from references import host_of, is_https_url

URL = "https://cdn.example.com/a.png"


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "HTTPS://cdn.example.com",
        "https://cdn.example.com:443/a/b/../c;v=1/~x,(y)!$&'*+=@:.png?a[]=1".replace("[]", "%5B%5D"),
        "https://cdn.example.com:/",
        "https://cdn.example.com?q=/?#f/?",
        "https://[2001:db8::1]:8443/a.png",
        "https://a_b.example/%20%F0%9F%91%A9",
        "https://cdn.example.com/👩‍👩‍👧‍👦.png",  # joined by U+200D
        "https://cdn.example.com/🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f.png",
        "https://cdn.example.com/❤️.png",
        "https://👩‍💻.example/a.png",
        "https://bücher.example/電池.png",
        "https://cdn.example.com/\U00032000.png",  # assigned by no version of Unicode yet
        "https://cdn.example.com/می‌خواهم.png",  # with U+200C
    ],
)
def test_it_is_an_https_url(url: str) -> None:
    assert is_https_url(url)


@pytest.mark.parametrize("character", [*'"<>\\^`{|}[]% \t\n\x00\x7f', "\u0085", "\ud800", "\u202e", "\u2066"])
@pytest.mark.parametrize("place", ["/a{}.png", "/{}", "?q={}", "#{}", "{}.example"])
def test_a_character_that_must_be_encoded_is_refused(character: str, place: str) -> None:
    assert not is_https_url("https://cdn.example" + place.format(character))


@pytest.mark.parametrize("blank", [*"\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"])
def test_a_blank_of_unicode_is_refused(blank: str) -> None:
    assert not is_https_url(f"https://cdn.example.com/a{blank}b.png")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https:",
        "https://",
        "https:///a.png",
        "https:/cdn.example.com/a.png",
        "http://cdn.example.com/a.png",
        "javascript:alert(1)",
        "//cdn.example.com/a.png",
        "cdn.example.com/a.png",
        "https://:443/a.png",
        "https://cdn.example.com:0/a.png",
        "https://cdn.example.com:65536/a.png",
        "https://cdn.example.com:x/a.png",
        "https://[::1",
        "https://[1.2.3]/",
        "https://anna@cdn.example.com/a.png",
        "https://anna:not-a-password@cdn.example.com/a.png",
        "https://cdn.example.com/%2",
        "https://cdn.example.com/%zz",
        " " + URL,
        URL + "\n",
    ],
)
def test_it_is_no_https_url(url: str) -> None:
    assert not is_https_url(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (URL, "cdn.example.com"),
        ("HTTP:\\\\anna@CDN.Example.com.:80\\a", "cdn.example.com"),
        ("https://\uff43\uff44\uff4e\u3002example.com", "cdn.example.com"),
        ("https://127.1", "127.0.0.1"),
        ("https://[::ffff:7f00:1]", "127.0.0.1"),
        ("https://xn--bcher-kva.example", "bücher.example"),
        ("https://xn--\u00ff.example", "xn--\u00ff.example"),
        ("https://[nonsense]/", None),
        ("mailto:", None),
        ("a/b", None),
    ],
)
def test_the_host_is_the_one_that_a_browser_addresses(url: str, host: str | None) -> None:
    assert host_of(url) == host
