"""Where webhooks may go: every range that is not public is refused, however it is written, unless the operator allows it."""

from ipaddress import ip_network

import pytest

from service.webhooks.reach import Reach

PUBLIC = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::200e"]

FORBIDDEN = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"],
    "unique local": ["fc00::1", "fd12:3456::1"],
    "link-local": ["169.254.169.254", "fe80::1", "fe80::1%1"],
    "shared, CGNAT": ["100.64.0.1", "100.127.255.255"],
    "unspecified, this network": ["0.0.0.0", "0.1.2.3", "::"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.8", "192.0.0.9", "4000::1", "100::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "site-local": ["fec0::1"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:1.1.1.1"],
    "IPv4-compatible": ["::127.0.0.1", "::1.1.1.1"],
    "6to4": ["2002:7f00:1::1", "2002:101:101::1", "192.88.99.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::101:101", "64:ff9b:1::1"],
    "Teredo": ["2001::1"],
}
ALL_FORBIDDEN = [pytest.param(address, id=f"{kind}: {address}") for kind, each in FORBIDDEN.items() for address in each]

STRICT = Reach()


def literal(address):
    return f"[{address.replace('%', '%25')}]" if ":" in address else address


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_within_reach(address):
    assert STRICT.permits(address)
    assert STRICT.mistake(f"https://{literal(address)}:8443/hook?a=b") is None


@pytest.mark.parametrize("address", ALL_FORBIDDEN)
def test_an_address_that_is_not_public_is_refused_before_and_while_connecting(address):
    assert not STRICT.permits(address)
    mistake = STRICT.mistake(f"https://{literal(address)}/")
    assert mistake is not None
    assert "AYS_WEBHOOK_NETWORKS" in mistake.fix or "%" in address


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0x7f.1", "localhost", "LOCALHOST.", "a.localhost"])
def test_other_spellings_of_loopback_are_known(host):
    assert "not public" in STRICT.mistake(f"https://{host}/").detail
    assert Reach(networks=(ip_network("127.0.0.0/8"),)).mistake(f"https://{host}/") is None


def test_what_the_operator_allows_is_that_and_nothing_else():
    reach = Reach(networks=(ip_network("10.1.0.0/16"), ip_network("fd00::/64")))
    assert reach.permits("10.1.2.3")
    assert reach.permits("fd00::7")
    assert not reach.permits("10.2.0.1")
    assert not reach.permits("fd00:0:0:1::7")
    assert not reach.permits("::ffff:10.1.2.3")
    assert reach.mistake("https://10.1.2.3/") is None
    assert reach.mistake("http://10.1.2.3/").expected == "https://"
    assert Reach(networks=reach.networks, http=True).mistake("http://10.1.2.3/") is None


NO_URLS = ["", "https://", "https:///path", "//example.org/", "unix:/run/redis.sock", "ftp://example.org/", "file:///etc/passwd"]
NO_HOSTS = ["https://a b/", "https://ex..org/", "https://%00/", "https://0177.0.0.1/", "https://[::1", "https://example.org:99999/"]


@pytest.mark.parametrize("url", [*NO_URLS, *NO_HOSTS, "https://example.org:port/"])
def test_what_is_no_url_of_a_host_is_refused(url):
    assert Reach(http=True).mistake(url).detail == "the webhook is no URL"


def test_credentials_are_refused_and_not_repeated():
    for url in ("https://me:hunter2@example.org/", "https://hunter2@example.org/", "https://me:hunter2@exa mple.org/"):
        mistake = STRICT.mistake(url)
        assert "hunter2" not in " ".join(mistake)
    assert STRICT.mistake("https://me:hunter2@example.org/").expected == "a URL without"


def test_a_name_is_left_to_the_time_when_it_is_resolved():
    assert STRICT.mistake("https://studio.example.org/hook") is None
    assert STRICT.mistake("https://exämple.org/") is None
