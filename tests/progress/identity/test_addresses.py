"""IP addresses as proxies and settings write them."""

import pytest

from progress.identity.addresses import address_of, is_in, networks_of


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:5000", "192.0.2.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:80", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%<script>", "fe80::1"),
        ("", None),
        ("unknown", None),
        ("192.0.2.7.", None),
        ("192.0.2.256", None),
        ("0x7f.1", None),
        ("\xff", None),
        ("<script>", None),
        (":" * 10_000, None),
        ("1" * 10_000, None),
    ],
)
def test_address_of__what_is_written(text, address):
    assert address_of(text) == address


@pytest.mark.parametrize(
    ("address", "is_inside"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("::1%lo", True),
        ("11.0.0.1", False),
        ("::2", False),
        ("?", False),
    ],
)
def test_is_in__some_networks(address, is_inside):
    assert is_in(address, networks_of("10.0.0.0/8, ::1")) == is_inside


def test_networks_of__nothing_is_nobody():
    assert networks_of(" ") == ()


@pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "10.0.0.0/33"])
def test_networks_of__what_is_none(text):
    with pytest.raises(ValueError, match=text):
        networks_of(text)
