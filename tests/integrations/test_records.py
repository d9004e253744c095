"""Names and addresses have one form, whatever form they came in."""

from __future__ import annotations

import re
import string
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from integrations.records import Reservation, normal_fqdn, normal_mac

OCTETS = (
    st.binary(min_size=6, max_size=6)
    .filter(lambda raw: not raw[0] & 1)
    .filter(lambda raw: any(raw))
)


def _shapes(raw: bytes) -> list[str]:
    pairs = [f"{octet:02x}" for octet in raw]
    digits = "".join(pairs)
    return [
        ":".join(pairs),
        "-".join(pairs),
        digits,
        ".".join(digits[start : start + 4] for start in (0, 4, 8)),
        "01-" + "-".join(pairs),
        "01:" + ":".join(pairs),
    ]


@given(OCTETS, st.booleans(), st.sampled_from(["", " ", "\n"]))
def test_every_spelling_of_a_mac_is_the_same_mac(raw: bytes, upper: bool, around: str) -> None:
    for shape in _shapes(raw):
        spelt = around + (shape.upper() if upper else shape) + around
        assert normal_mac(spelt) == ":".join(f"{octet:02x}" for octet in raw)


@given(OCTETS)
def test_a_normal_mac_stays_as_it_is(raw: bytes) -> None:
    once = normal_mac(raw.hex())
    assert normal_mac(once) == once


@given(st.text())
def test_no_text_gives_anything_but_a_mac_or_an_error(text: str) -> None:
    try:
        found = normal_mac(text)
    except ValueError:
        return
    assert re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", found)


@given(st.binary(min_size=6, max_size=6).map(lambda raw: bytes([raw[0] | 1]) + raw[1:]))
def test_a_multicast_address_is_no_interface(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not the address of one"):
        normal_mac(raw.hex())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00:00:00:00:00:00",
        "52:54:00:aa:bb",
        "52:54:00:aa:bb:01:02",
        "52:54-00:aa:bb:01",
        "5254:00aa:bb01",
        "5:54:00:aa:bb:01",
        "52:54:00:aa:bb:0g",
        "52:54:00:aa:bb:0١",  # noqa: RUF001 - a digit, but not one of ours
    ],
)
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        normal_mac(text)


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=2, max_size=6).map(".".join)


@given(NAME, st.booleans(), st.booleans())
def test_a_full_name_has_one_form(name: str, upper: bool, dot: bool) -> None:
    spelt = (name.upper() if upper else name) + ("." if dot else "")
    assert normal_fqdn(spelt) == name


@given(st.text(alphabet=string.printable + "ßäé١İ"))
def test_no_text_gives_anything_but_a_name_or_an_error(text: str) -> None:
    try:
        found = normal_fqdn(text)
    except ValueError:
        return
    assert re.fullmatch(r"[a-z0-9.-]+", found)
    assert len(found) <= 253
    assert all(0 < len(label) <= 63 for label in found.split("."))
    assert normal_fqdn(found) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "web01",
        "web01.",
        "-web.example.org",
        "web-.example.org",
        "web_01.example.org",
        "web..example.org",
        "web01.example.org..",
        f"{'a' * 64}.example.org",
        ".".join(["a" * 60] * 5),
        "web 01.example.org",
        "wéb.example.org",
    ],
)
def test_what_is_no_full_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a full host name"):
        normal_fqdn(text)


def test_records_fold_the_mac_and_refuse_unknown_fields() -> None:
    values = {
        "mac": "52-54-00-AA-BB-01",
        "ip": "192.0.2.50",
        "name": "web01.example.org",
        "network": IPv4Network("192.0.2.0/24"),
    }
    assert Reservation.model_validate(values).mac == "52:54:00:aa:bb:01"
    with pytest.raises(ValidationError):
        Reservation.model_validate({**values, "nextServer": "192.0.2.1"})
