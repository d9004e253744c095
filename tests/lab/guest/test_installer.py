"""The installer's decisions, without a machine: kickstarts as real sites write them."""

from __future__ import annotations

import configparser
import stat

import pytest

from lab.guest.installer import install
from lab.images.initramfs import GUEST

MINIMAL = "url --url=http://192.0.2.1/tree/\nautopart\n"


def test_kernel_arguments_with_and_without_values() -> None:
    assert install.arguments("quiet inst.ks=http://a/?b=c&d=e inst.ks.sendmac BOOTIF=01-aa\n") == {
        "quiet": "",
        "inst.ks": "http://a/?b=c&d=e",
        "inst.ks.sendmac": "",
        "BOOTIF": "01-aa",
    }


def test_every_interface_is_named_to_who_serves_the_kickstart() -> None:
    assert install.mac_headers({"eth1": "52:54:00:00:00:02", "eth0": "52:54:00:00:00:01"}) == [
        "-H", "X-RHN-Provisioning-MAC-0: eth0 52:54:00:00:00:01",
        "-H", "X-RHN-Provisioning-MAC-1: eth1 52:54:00:00:00:02",
    ]  # fmt: skip


def test_core_and_a_kernel_come_unasked_as_with_anaconda() -> None:
    text = MINIMAL + "%packages\n@^minimal-environment\n@standard\nvim\n-nano\n%end\n"
    packages = install.parse(text, final=True).packages
    assert install.wanted_packages(packages) == [
        "@minimal-environment", "@core", "@standard", "vim", "kernel",
    ]  # fmt: skip
    assert packages.excludedList == ["nano"]


def test_nocore_leaves_the_group_out() -> None:
    packages = install.parse(
        MINIMAL + "%packages --nocore\nlabos-base\n%end\n", final=True
    ).packages
    assert install.wanted_packages(packages) == ["labos-base", "kernel"]


def test_further_repositories_are_used() -> None:
    text = MINIMAL + "repo --name=extra --baseurl=http://192.0.2.1/extra/\n"
    parser = configparser.ConfigParser()
    parser.read_string(install.repositories(install.parse(text, final=True)))
    assert {name: parser[name]["baseurl"] for name in parser.sections()} == {
        "anaconda": "http://192.0.2.1/tree/",
        "extra": "http://192.0.2.1/extra/",
    }


@pytest.mark.parametrize(
    "partitioning", ["autopart", "part / --fstype=ext4 --grow --size=1", "autopart --type=lvm"]
)
def test_a_root_on_the_whole_disk_is_what_it_makes(partitioning: str) -> None:
    text = f"url --url=http://192.0.2.1/tree/\n{partitioning}\n"
    install.check(install.parse(text, final=True))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("autopart\n", "install tree"),
        ("url --url=http://192.0.2.1/tree/\n", "neither autopart nor part /"),
        (
            "url --url=http://192.0.2.1/tree/\npart / --size=1\npart swap --size=1\n",
            r"no \['swap'\]",
        ),
        (
            MINIMAL + "network --bootproto=static --ip=192.0.2.9 --netmask=255.255.255.0\n",
            "--bootproto=dhcp only",
        ),
    ],
)
def test_what_it_would_do_differently_is_refused_before_the_disk_is_touched(
    text: str, why: str
) -> None:
    with pytest.raises(install.InstallError, match=why):
        install.check(install.parse(text, final=True))


def test_a_file_that_pre_will_write_may_be_missing_only_before_pre() -> None:
    text = MINIMAL + "%include /nowhere/partitions\n"
    install.parse(text, final=False)
    with pytest.raises(Exception, match="/nowhere/partitions"):
        install.parse(text, final=True)


def test_programs_of_the_guests_can_be_run() -> None:
    programs = [*GUEST.glob("*/init"), *GUEST.glob("*/install.py"), *GUEST.glob("discovery/*")]
    assert len(programs) >= 6
    for program in programs:
        assert program.read_text().startswith("#!")
        assert stat.S_ISREG(program.stat().st_mode)
