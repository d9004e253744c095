from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from sqlmodel import select

from integrations.records import Loader
from inventory.models import LOADERS, Candlepin, HostGroup, HostOverride, Puppet, Subnet
from inventory.sitefile import ChangeKind, SiteFile, SiteFileError, apply_site, read_site_file
from lab.authority import Authority
from tests.conftest import Database

SITE = """\
[site]
name = "lab"
gateway_url = "http://192.0.2.1:8000"

[[proxy]]
name = "near"
url = "local:"
host_url = "http://192.0.2.1:8001"

[[domain]]
name = "example.org"
proxy = "near"
name_servers = ["192.0.2.1:53"]

[[subnet]]
name = "lan"
network = "192.0.2.0/24"
range_from = "192.0.2.20"
range_to = "192.0.2.99"
dynamic_from = "192.0.2.200"
dynamic_to = "192.0.2.250"
gateway = "192.0.2.1"
boot_server = "192.0.2.1"
dhcp_proxy = "near"
tftp_proxy = "near"
domain = "example.org"

[subnet.filenames]
PXELinux = "pxelinux.0"
iPXE = "ipxe.efi"

[[operating_system]]
name = "LabOS 1"

[[install_tree]]
name = "tree"
operating_system = "LabOS 1"
url = "http://192.0.2.1/tree/"

[[host_group]]
name = "web"
operating_system = "LabOS 1"
install_tree = "tree"
subnet = "lan"
domain = "example.org"
root_password_hash = "!"
packages = [
    "httpd",
    "[[not a table]]",
]
parameters = { role = "web" }

[[discovery_rule]]
name = "all"
condition = "facts.memorysize_mb | float >= 512"
host_group = "web"
host_name = "web{{ number }}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "site.toml"


def written(file: Path, text: str) -> SiteFile:
    file.write_text(text)
    return read_site_file(file)


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if part in line)


async def test_applying_a_site_creates_everything_and_again_changes_nothing(
    database: Database, file: Path
) -> None:
    async with database.sessions.begin() as session:
        first = await apply_site(session, written(file, SITE))
    async with database.sessions.begin() as session:
        second = await apply_site(session, written(file, SITE))
    assert {one.kind for one in first} == {ChangeKind.CREATED}
    assert [(one.what, one.name) for one in first] == [
        ("site", "lab"),
        ("proxy", "near"),
        ("domain", "example.org"),
        ("subnet", "lan"),
        ("operating_system", "LabOS 1"),
        ("install_tree", "tree"),
        ("host_group", "web"),
        ("discovery_rule", "all"),
    ]
    assert {one.kind for one in second} == {ChangeKind.UNCHANGED}
    async with database.sessions() as session:
        subnet = (await session.exec(select(Subnet))).one()
        group = (await session.exec(select(HostGroup))).one()
    assert (subnet.network, subnet.range_to, subnet.boot_port) == ("192.0.2.0/24", "192.0.2.99", 69)
    assert subnet.filenames == {"PXELinux": "pxelinux.0", "iPXE": "ipxe.efi"}
    assert (group.packages, group.parameters) == (["httpd", "[[not a table]]"], {"role": "web"})


async def test_a_change_is_told_with_old_and_new_value_but_without_secrets(
    database: Database, file: Path
) -> None:
    changed_site = SITE.replace(".99", ".98").replace('"!"', '"$6$salt$planted"')
    async with database.sessions.begin() as session:
        await apply_site(session, written(file, SITE))
    async with database.sessions.begin() as session:
        changes = await apply_site(session, written(file, changed_site))
    changed = {one.what: one.detail for one in changes if one.kind is ChangeKind.CHANGED}
    assert changed == {
        "subnet": "range_to: 192.0.2.99 → 192.0.2.98",
        "host_group": "root_password_hash is another one",
    }


@pytest.mark.parametrize(
    ("good", "bad", "at", "reason"),
    [
        ('proxy = "near"', 'proxy = "far"', "far", "there is no proxy 'far'; there are: near"),
        ('range_to = "192.0.2.99"', 'range_to = "192.0.3.99"', "192.0.3.99", "no host's address"),
        ('range_from = "192.0.2.20"', 'range_from = "x"', '"x"', "valid IPv4 address"),
        ('"192.0.2.99"', '"192.0.2.10"', "range_to", "192.0.2.10 is before 192.0.2.20"),
        ('"192.0.2.99"', '"192.0.2.210"', "dynamic_from", "overlaps the range for hosts"),
        ('dynamic_to = "192.0.2.250"', "", "dynamic_from", "belong together"),
        ('gateway = "192.0.2.1"', 'gateway = "192.0.2.30"', "2.30", "lies in the range"),
        ('iPXE = "', 'lilo = "', "lilo", "'lilo' is not a known loader"),
        (
            'domain = "example.org"\nroot',
            'domain = "example.com"\nroot',
            "example.com",
            "no domain",
        ),
        ('subnet = "lan"\n', "", "[[host_group]]", "host_group.subnet: is missing"),
        ('gateway = "', 'getaway = "', "getaway", "subnet.getaway: is not known here"),
        ('"!"', '"planted"', "root_password_hash", "crypt"),
        ('"!"', '"!"\non_failure = "drop"', "on_failure", "'hold' or 'undo'"),
        ('"!"', '"!"\npuppet = "main"', "puppet", "there is no puppet 'main'; there are: none"),
        ('"!"', '"!"\nclasses = { "Ntp" = {} }', "classes", "should match pattern"),
        ('"!"', '"!"\nparent = "base"', "parent", "there is no host_group 'base'"),
        ('"!"', '"!"\nparent = "web"', "parent", "is its own ancestor: web → web"),
        ('"!"', '"!"\ncandlepin = "x"', "candlepin", "there is no candlepin 'x'; there are: none"),
        ('"!"', '"!"\nowner = "ACME"', "[[host_group]]", "are of a candlepin: name it"),
        ('"!"', '"!"\nactivation_key = "a b"', "activation_key", "should match pattern"),
        ("float >= 512", "float >=", "condition", "discovery rule all, condition, line 1"),
        ('"web{{ number }}"', '"web{{ number"', "host_name", "discovery rule all, host_name"),
        ('url = "local:"', 'url = "proxy"', 'url = "proxy"', "'proxy' is not a URL"),
        ('"192.0.2.1:53"', '"192.0.2.1:dns"', "name_servers", "'dns' is not a port"),
        ('name = "LabOS 1"\n\n[[i', "name = 1\n\n[[i", "name = 1", "valid string"),
        ("[site]\n", "[site\n", "[site", "Expected"),
    ],
)
def test_an_invalid_file_is_refused_with_line_and_reason(
    file: Path, good: str, bad: str, at: str, reason: str
) -> None:
    assert good in SITE
    text = SITE.replace(good, bad, 1)
    with pytest.raises(SiteFileError) as caught:
        written(file, text)
    expected = f"site.toml:{line_of(text, at)}: "
    told = [one for one in caught.value.problems if one.startswith(expected)]
    assert any(reason in one for one in told), caught.value.problems
    assert "planted" not in str(caught.value)


def test_all_problems_are_told_at_once_in_the_order_of_their_lines(file: Path) -> None:
    text = SITE.replace('"near"\nurl', '"nearer"\nurl').replace('"local:"', '"ftp://x"')
    text += '\n[[proxy]]\nname = "nearer"\nurl = "local:"\nhost_url = "http://192.0.2.1"\n'
    with pytest.raises(SiteFileError) as caught:
        written(file, text)
    lines = [int(one.split(":")[1]) for one in caught.value.problems]
    assert lines == sorted(lines)
    assert len(lines) == 5  # the URL, three references, and the second name


def test_a_file_in_another_encoding_is_refused_with_its_line(file: Path) -> None:
    file.write_bytes(SITE.replace('name = "near"', 'name = "näher"').encode("latin-1"))
    with pytest.raises(SiteFileError, match=r"^site\.toml:6: not UTF-8"):
        read_site_file(file)


def test_overlapping_subnets_are_refused(file: Path) -> None:
    second = SITE[SITE.index("[[subnet]]") : SITE.index("[subnet.filenames]")]
    text = SITE + second.replace('"lan"', '"lan2"').replace(".0/24", ".0/25")
    with pytest.raises(SiteFileError, match=r"overlaps 192\.0\.2\.0/24 of the subnet 'lan'"):
        written(file, text)


def test_the_loaders_are_those_of_the_integrations() -> None:
    assert set(LOADERS) == {one.value for one in Loader}


FAMILY = """
[[puppet]]
name = "main"
url = "https://puppet.example.org:8140/"
certname = "puppet.example.org"
credentials = "puppet"

[[host_group]]
name = "database"
parent = "web"
puppet = "main"
environment = "testing"
parameters = { size = 3 }

[host_group.classes]
postgresql = { version = 15 }
ntp = { servers = ["192.0.2.1"] }

[[host_group]]
name = "replica"
parent = "database"
packages = []
parameters = { role = "replica" }
classes = { ntp = { restrict = true } }

[[host]]
name = "db1.example.org"
parameters = { size = 9 }
"""


async def test_a_child_gets_what_it_does_not_say_and_changes_single_classes(
    database: Database, file: Path
) -> None:
    site = written(file, SITE + FAMILY)
    web, database_group, replica = site.host_group
    assert database_group.packages == web.packages
    assert replica.packages == ()
    assert (replica.subnet, replica.puppet, replica.environment) == ("lan", "main", "testing")
    assert replica.parameters == {"role": "replica", "size": 3}
    assert replica.classes == {
        "ntp": {"servers": ["192.0.2.1"], "restrict": True},
        "postgresql": {"version": 15},
    }
    assert (web.puppet, web.classes) == (None, {})
    async with database.sessions.begin() as session:
        await apply_site(session, site)
    async with database.sessions.begin() as session:
        assert {one.kind for one in await apply_site(session, site)} == {ChangeKind.UNCHANGED}
        puppet = (await session.exec(select(Puppet))).one()
        own = (await session.exec(select(HostOverride))).one()
    assert puppet.url == "https://puppet.example.org:8140"
    assert (own.name, own.parameters, own.environment) == ("db1.example.org", {"size": 9}, None)


@pytest.mark.parametrize(
    ("good", "bad", "at", "reason"),
    [
        ('name = "db1.e', 'name = "DB1.e', '"DB1', "not a domain in lower case"),
        ('"https://p', '"http://p', "http://pu", "is no https URL"),
        ('name = "replica"\n', "", "[[host_group]]\nparent", "host_group.name: is missing"),
        ('"web"\npuppet', '"replica"\npuppet', '"replica"', "database → replica → database"),
    ],
)
def test_what_is_wrong_with_puppet_is_told_with_its_line(
    file: Path, good: str, bad: str, at: str, reason: str
) -> None:
    assert good in FAMILY
    text = SITE + FAMILY.replace(good, bad, 1)
    with pytest.raises(SiteFileError) as caught:
        written(file, text)
    line = text[: text.index(at)].count("\n") + 1
    told = [one for one in caught.value.problems if one.startswith(f"site.toml:{line}: ")]
    assert any(reason in one for one in told), caught.value.problems


def certificate() -> str:
    with tempfile.TemporaryDirectory() as directory:
        return Authority(Path(directory), "front-ca").file.read_text()


SUBSCRIBED = """
[[candlepin]]
name = "main"
url = "https://candlepin.example.org:8443/candlepin/"
credentials = "candlepin"
front = "https://rackrise.example.org:8444/rhsm/"
front_ca = '''
What openssl writes around it.
CERTIFICATE'''

[[host_group]]
name = "subscribed"
parent = "web"
candlepin = "main"
owner = "ACME"
activation_key = "web-1"
content_environments = ["prod"]
"""


async def test_a_group_is_subscribed(database: Database, file: Path) -> None:
    pem = certificate()
    site = written(file, SITE + SUBSCRIBED.replace("CERTIFICATE", pem))
    async with database.sessions.begin() as session:
        await apply_site(session, site)
    async with database.sessions.begin() as session:
        assert {one.kind for one in await apply_site(session, site)} == {ChangeKind.UNCHANGED}
        row = (await session.exec(select(Candlepin))).one()
        group = (await session.exec(select(HostGroup).where(HostGroup.name == "subscribed"))).one()
    assert row.url == "https://candlepin.example.org:8443/candlepin"
    assert row.front == "https://rackrise.example.org:8444/rhsm"
    assert row.front_ca == pem
    assert (group.candlepin_id, group.owner, group.activation_key) == (row.id, "ACME", "web-1")
    assert group.content_environments == ["prod"]


async def test_another_certificate_is_told_in_few_words(database: Database, file: Path) -> None:
    async with database.sessions.begin() as session:
        await apply_site(
            session, written(file, SITE + SUBSCRIBED.replace("CERTIFICATE", certificate()))
        )
    async with database.sessions.begin() as session:
        changes = await apply_site(
            session, written(file, SITE + SUBSCRIBED.replace("CERTIFICATE", certificate()))
        )
    (changed,) = [one for one in changes if one.kind is ChangeKind.CHANGED]
    assert changed.detail == "front_ca is another one"


@pytest.mark.parametrize(
    ("good", "bad", "at", "reason"),
    [
        ('"https://c', '"http://c', "http://can", "is no https URL"),
        (":8444/rhsm/", ":8444/", "https://rackrise", "is not a front, such as https://"),
        ("CERTIFICATE", "planted", "front_ca", "not certificates as PEM"),
        ('owner = "ACME"\n', "", '[[host_group]]\nname = "subs', "candlepin needs owner"),
        ('candlepin = "main"', 'candlepin = "x"', 'candlepin = "x"', "there is no candlepin 'x'"),
        ('["prod"]', '["a/b"]', "content_environments", "should match pattern"),
    ],
)
def test_what_is_wrong_with_a_candlepin_is_told_with_its_line(
    file: Path, good: str, bad: str, at: str, reason: str
) -> None:
    assert good in SUBSCRIBED
    text = SITE + SUBSCRIBED.replace(good, bad, 1).replace("CERTIFICATE", certificate())
    with pytest.raises(SiteFileError) as caught:
        written(file, text)
    line = text[: text.index(at)].count("\n") + 1
    told = [one for one in caught.value.problems if one.startswith(f"site.toml:{line}: ")]
    assert any(reason in one for one in told), caught.value.problems
    assert "planted" not in str(caught.value)
