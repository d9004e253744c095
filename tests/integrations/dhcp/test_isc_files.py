"""dhcpd's two files, in the shapes that people and dhcpd write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.dhcp.isc_files import Host, declarations, parse, subnets, to_lease
from integrations.dhcp.isc_state import IscState, StateReader
from integrations.records import DhcpSubnet, Lease, Reservation

NETWORK = IPv4Network("192.0.2.0/24")
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

CONF = """
# a comment with { and ;
option domain-name-servers 198.51.100.1, ns.example.org;
class "x" { match if substring (option vendor-class-identifier, 0, 9) = "PXE;}Client"; }
shared-network office {
  option routers 192.0.2.1, 192.0.2.2;
  subnet 192.0.2.0 netmask 255.255.255.0 {
    option domain-name-servers 192.0.2.3;
    pool { allow members of "x"; range dynamic-bootp 192.0.2.100 192.0.2.120; }
    pool { range 192.0.2.150; }
  }
  subnet 198.51.100.0 netmask 255.255.255.128 { }
}
group {
  filename "group.0";
  host printer {
    hardware ethernet 52:54:00:BB:00:01; fixed-address 192.0.2.62, 198.51.100.62;
    option host-name "printer"; next-server 192.0.2.7; filename "p\\"x.0";
  }
  host token-ring { hardware token-ring 52:54:00:bb:00:02; fixed-address 192.0.2.63; }
}
"""

LEASES = """
server-duid "\\000\\001\\000\\001}2\\226`\\"{\\036";
lease 192.0.2.100 {
  starts 6 2026/01/31 10:00:00;
  ends 6 2026/01/31 11:00:00;
  binding state active;
  hardware ethernet 52:54:00:aa:00:01;
  uid "\\001RT\\000\\252}\\000\\001";
}
lease 192.0.2.100 {
  starts 6 2026/01/31 11:00:00;
  ends 6 2026/01/31 13:00:00;
  binding state active;
  next binding state free;
  hardware ethernet 52:54:00:aa:00:02;
  client-hostname "web02";
  on expiry { log("gone"); }
}
lease 192.0.2.101 {
  starts epoch 1769853600; # Sat Jan 31 10:00:00 2026
  ends epoch 1769857200; # Sat Jan 31 11:00:00 2026
  binding state active;
  hardware ethernet 52:54:00:aa:00:03;
}
lease 192.0.2.102 { binding state abandoned; }
lease 192.0.2.103 { ends never; binding state active; hardware ethernet 52:54:00:aa:00:04; }
host web01.example.org {
  dynamic;
  hardware ethernet 52:54:00:aa:00:01;
  fixed-address 192.0.2.50;
        supersede server.filename = "pxelinux.0";
        supersede server.next-server = c0:00:02:01;
        supersede host-name = "web01";
}
host web02.example.org { dynamic; hardware ethernet 52:54:00:aa:00:02; fixed-address 192.0.2.51; }
host web02.example.org { dynamic; deleted; }
lease 192.0.2.104 {
  starts 6 2026/01/31
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    conf, kept = tmp_path / "dhcpd.conf", tmp_path / "dhcpd.leases"
    conf.write_text(CONF)
    kept.write_text(LEASES)
    return conf, kept


@pytest.fixture
def state(files: tuple[Path, Path]) -> IscState:
    return StateReader(*files).read()


def by_name(state: IscState) -> dict[str, Host]:
    return {host.name: host for host in state.hosts}


def test_subnets_inherit_options_from_the_nearest_level(state: IscState) -> None:
    assert state.subnets == [
        DhcpSubnet(
            network=NETWORK,
            routers=(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")),
            name_servers=(IPv4Address("192.0.2.3"),),
            range_from=IPv4Address("192.0.2.100"),
            range_to=IPv4Address("192.0.2.120"),
        ),
        DhcpSubnet(
            network=IPv4Network("198.51.100.0/25"),
            routers=(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")),
            name_servers=(IPv4Address("198.51.100.1"),),
        ),
    ]


def test_hosts_of_both_files_are_read_and_deletions_honoured(state: IscState) -> None:
    found = by_name(state)
    assert sorted(found) == ["printer", "web01.example.org"]
    assert found["web01.example.org"].dynamic
    assert found["web01.example.org"].reservations(NETWORK) == [
        Reservation(
            mac="52:54:00:aa:00:01",
            ip=IPv4Address("192.0.2.50"),
            name="web01.example.org",
            hostname="web01",
            next_server="192.0.2.1",
            filename="pxelinux.0",
            network=NETWORK,
        )
    ]
    printer = found["printer"]
    assert not printer.dynamic
    assert printer.addresses == (IPv4Address("192.0.2.62"), IPv4Address("198.51.100.62"))
    assert (printer.hostname, printer.next_server) == ("printer", "192.0.2.7")
    assert printer.filename == 'p"x.0'


def test_a_host_of_the_configuration_that_was_deleted_by_omapi_is_gone(
    files: tuple[Path, Path],
) -> None:
    files[1].write_text("host printer { dynamic; deleted; }")
    assert StateReader(*files).read().hosts == []


def test_the_last_word_on_an_address_counts(state: IscState) -> None:
    found = {ip: to_lease(block, NOW) for ip, block in state.leases.items()}
    assert found[IPv4Address("192.0.2.100")] == Lease(
        mac="52:54:00:aa:00:02",
        ip=IPv4Address("192.0.2.100"),
        hostname="web02",
        starts=datetime(2026, 1, 31, 11, tzinfo=UTC),
        ends=datetime(2026, 1, 31, 13, tzinfo=UTC),
        active=True,
    )
    ended = found[IPv4Address("192.0.2.101")]
    assert ended is not None
    assert (ended.starts, ended.active) == (datetime(2026, 1, 31, 10, tzinfo=UTC), False)
    assert found[IPv4Address("192.0.2.102")] is None
    endless = found[IPv4Address("192.0.2.103")]
    assert endless is not None
    assert endless.active
    assert IPv4Address("192.0.2.104") not in found


def test_what_is_appended_piece_by_piece_is_read_as_if_at_once(files: tuple[Path, Path]) -> None:
    whole = StateReader(*files).read()
    files[1].write_text("")
    reader = StateReader(*files)
    with files[1].open("a") as appended:
        for start in range(0, len(LEASES), 7):
            appended.write(LEASES[start : start + 7])
            appended.flush()
            reader.read()
    assert reader.read() == whole


def test_a_file_that_was_replaced_is_read_anew(files: tuple[Path, Path]) -> None:
    reader = StateReader(*files)
    assert "web01.example.org" in by_name(reader.read())
    fresh = files[1].with_name("fresh")
    fresh.write_text("host new { hardware ethernet 52:54:00:aa:00:09; }" + " " * 9000)
    fresh.rename(files[1])
    assert sorted(by_name(reader.read())) == ["new", "printer"]
    # The same inode, as a later file may get it again, and longer than before.
    files[1].write_text("host newer { hardware ethernet 52:54:00:aa:00:08; }" + " " * 9999)
    assert sorted(by_name(reader.read())) == ["newer", "printer"]


def test_included_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("subnet 192.0.2.0 netmask 255.255.255.0 { }")
    found = subnets(parse('include "more.conf";', tmp_path))
    assert [subnet.network for subnet in found] == [NETWORK]


def test_a_stray_brace_is_an_error() -> None:
    with pytest.raises(ValueError, match="without its"):
        declarations("subnet { } }")


@given(st.text(alphabet=st.sampled_from(list('ab{};"#\\ \n=')), max_size=60))
def test_every_text_is_read_or_refused_for_a_stray_brace(text: str) -> None:
    plain = re.sub(r'#[^\n]*|"(?:\\.|[^"\\])*"', " ", text).partition('"')[0]
    depth = lowest = 0
    for character in plain:
        depth += {"{": 1, "}": -1}.get(character, 0)
        lowest = min(lowest, depth)
    if lowest < 0:
        with pytest.raises(ValueError, match="without its"):
            declarations(text)
    else:
        found, end = declarations(text)
        assert declarations(text[:end]) == (found, end)
