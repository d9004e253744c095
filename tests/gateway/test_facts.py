import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.facts import BadFacts, parse_body, read_facts, same_telling

MAC = "52:54:00:aa:bb:01"
FLAT = {
    "discovery_bootif": "52-54-00-AA-BB-01",
    "interfaces": "eth0,eth1,lo",
    "macaddress_eth0": "52:54:00:AA:BB:01",
    "ipaddress_eth0": "192.0.2.101",
    "macaddress_eth1": "52:54:00:aa:bb:02",
    "ipaddress_lo": "127.0.0.1",
}
STRUCTURED: dict[str, Any] = {
    "discovery_bootif": MAC,
    "networking": {
        "interfaces": {
            "ens3": {"mac": MAC, "ip6": "2001:db8::5", "bindings": [{"address": "x"}]},
            "lo": {"ip": "127.0.0.1"},
        }
    },
}


@pytest.mark.parametrize("spelling", [MAC, MAC.upper(), "01-52-54-00-aa-bb-01", "525400AABB01"])
def test_the_boot_interface_may_be_spelt_in_any_way(spelling: str) -> None:
    seen = read_facts(FLAT | {"discovery_bootif": spelling})
    assert (seen.mac, seen.ip) == (MAC, "192.0.2.101")
    assert [one.name for one in seen.interfaces] == ["eth0", "eth1"]


def test_structured_facts_with_ipv6_only_are_read() -> None:
    seen = read_facts(STRUCTURED)
    assert (seen.interfaces[0].name, seen.ip) == ("ens3", "2001:db8::5")


def test_a_link_local_address_is_none() -> None:
    facts = FLAT | {"ipaddress_eth0": "", "ipaddress6_eth0": "fe80::1%eth0"}
    with pytest.raises(BadFacts, match=f"interface eth0 with {MAC} has no IP address"):
        read_facts(facts)


def test_a_bond_does_not_hide_its_card() -> None:
    facts = FLAT | {
        "interfaces": "bond0,eth0,lo",
        "macaddress_bond0": MAC,
    }
    assert [one.name for one in read_facts(facts).interfaces] == ["eth0"]


def test_infiniband_is_passed_over() -> None:
    facts = FLAT | {"interfaces": "ib0,eth0", "macaddress_ib0": "80:" + "00:" * 18 + "01"}
    assert [one.name for one in read_facts(facts).interfaces] == ["eth0"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"discovery_bootif": ""}, "discovery_bootif is missing"),
        ({"discovery_bootif": "nonsense"}, "'nonsense' is not a MAC address"),
        ({"discovery_bootif": "52:54:00:aa:bb:09"}, "unable to find the primary interface"),
        ({"interfaces": ""}, "unable to find the primary interface"),
        ({"ipaddress_eth0": "192.0.2.300"}, "has no IP address"),
        ({"ipaddress_eth0": ["192.0.2.1"]}, "has no IP address"),
    ],
)
def test_facts_that_name_no_bootable_machine_are_refused(
    changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadFacts, match=sentence):
        read_facts(FLAT | changes)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"{}", b'{"facts": []}', b'{"facts": null}', b"[" * 100_000],
)
def test_a_body_that_is_no_object_of_facts_is_refused(body: bytes) -> None:
    with pytest.raises(BadFacts, match="body"):
        parse_body(body)


def test_facts_nested_without_end_are_refused() -> None:
    with pytest.raises(BadFacts, match="nested deeper"):
        parse_body(b'{"facts": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}")


def test_noise_is_no_news() -> None:
    assert same_telling(FLAT | {"uptime": "1"}) == same_telling(FLAT | {"uptime": "2"})
    assert same_telling(FLAT) != same_telling(FLAT | {"ipaddress_eth0": "192.0.2.102"})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
names = st.sampled_from([*FLAT, "networking"]) | st.text(max_size=20)


@given(st.dictionaries(names, values, max_size=8))
def test_any_facts_are_read_or_refused(facts: dict[str, Any]) -> None:
    parsed = parse_body(json.dumps({"facts": FLAT | facts}).encode())
    with suppress(BadFacts):
        assert read_facts(parsed).ip is not None
