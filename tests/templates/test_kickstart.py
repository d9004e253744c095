import subprocess

import pytest
from pydantic import ValidationError
from pykickstart.parser import KickstartParser, Script
from pykickstart.version import makeVersion

from templates.models import KickstartInput
from templates.render import UnknownTemplate, render_kickstart
from tests.templates.values import PUPPET, kickstart

LAB_DISK = ("part / --fstype=ext4 --grow --size=1",)


def parse(values: KickstartInput, version: str = "RHEL9") -> KickstartParser:
    parser = KickstartParser(makeVersion(version))
    parser.readKickstartFromString(render_kickstart(values))
    return parser


def scripts() -> list[Script]:
    return list(parse(kickstart()).handler.scripts)


@pytest.mark.parametrize("version", ["RHEL8", "RHEL9", "F40"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"root_password_hash": "!", "packages": (), "kernel_options": ""},
        {"parameters": {"partitioning": LAB_DISK}},
        {"puppet": PUPPET},
    ],
)
def test_the_kickstart_is_valid(version: str, changes: dict[str, object]) -> None:
    assert parse(kickstart(**changes), version).handler.url.url == "http://192.0.2.1:8080/tree/"


def test_the_kickstart_says_what_the_host_group_says() -> None:
    handler = parse(kickstart(parameters={"partitioning": LAB_DISK, "keyboard": "de"})).handler
    network = handler.network.network[0]
    assert (network.device, network.hostname) == ("52:54:00:aa:bb:01", "web01.example.org")
    assert handler.bootloader.appendLine == "console=ttyS0 net.ifnames=0"
    assert (handler.rootpw.isCrypted, handler.rootpw.password) == (True, "$6$salt$hash./1")
    assert handler.keyboard.keyboard == "de"
    assert not handler.autopart.autopart
    assert handler.partition.partitions[0].fstype == "ext4"
    assert handler.packages.groupList[0].name == "core"
    assert handler.packages.packageList == ["kernel-labos"]
    assert handler.packages.excludedList == ["plymouth"]


def test_a_locked_root_account_has_no_password() -> None:
    assert parse(kickstart(root_password_hash="!")).handler.rootpw.lock


def test_the_disk_is_laid_out_by_itself_unless_the_group_says_how() -> None:
    assert parse(kickstart()).handler.autopart.autopart


def test_all_scripts_are_posix_shell() -> None:
    for script in scripts():
        assert script.interp == "/bin/sh"
        subprocess.run(["dash", "-n"], input=script.script, text=True, check=True)


def test_installed_files_and_the_last_word_stop_the_installer_when_they_fail() -> None:
    posts = [script for script in scripts() if script.type == 1]
    assert [script.errorOnFail for script in posts] == [True, True]
    assert "call_home built" in posts[-1].script


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fqdn", "web01.example.org\nreboot"),
        ("token", "x'; rm -rf /; '"),
        ("root_password_hash", "plain text"),
        ("packages", ("%end",)),
        ("kernel_options", 'quiet"\nreboot'),
        ("tree_url", "http://192.0.2.1/`id`"),
        ("gateway_url", "http://192.0.2.1/' x"),
        ("parameters", {"partitioning": ("autopart\nreboot",)}),
        ("parameters", {"language": "C; x"}),
    ],
)
def test_a_value_that_would_change_the_kickstart_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        kickstart(**{field: value})


@pytest.mark.parametrize("name", ["other.ks.j2", "../x.ks.j2", "local.ipxe.j2"])
def test_an_unknown_template_is_named(name: str) -> None:
    with pytest.raises(UnknownTemplate, match="template"):
        render_kickstart(kickstart(), name)
