"""The scripts of the kickstart as a machine runs them, against a gateway that misbehaves."""

import json
import platform

import pytest
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from inventory.reports import FirstReport
from templates.render import render_kickstart
from tests.templates.conftest import Gateway, Machine
from tests.templates.values import kickstart

WATCH = "watch_packages </dev/null >/dev/null 2>&1 &"
"""How the watcher is started; it outlives the script, which no test wants."""


def sections(gateway: Gateway) -> dict[str, str]:
    parser = KickstartParser(makeVersion("RHEL9"))
    parser.readKickstartFromString(render_kickstart(kickstart(gateway_url=gateway.url)))
    names = ["pre", "post", "last post", "onerror"]
    return dict(zip(names, (one.script for one in parser.handler.scripts), strict=True))


def test_built_is_said_once_where_it_is_heard(gateway: Gateway, machine: Machine) -> None:
    gateway.answers = [201]
    assert machine.run(sections(gateway)["last post"]).returncode == 0
    assert gateway.bodies("built") == ["{}\n"]


@pytest.mark.parametrize("trouble", [500, 404, 302])
def test_built_is_said_again_until_it_is_accepted(
    gateway: Gateway, machine: Machine, trouble: int
) -> None:
    gateway.answers = [trouble, trouble, trouble, trouble, 201]
    assert machine.run(sections(gateway)["last post"]).returncode == 0
    assert len(gateway.bodies("built")) == 5
    bounds = [(2, 3), (3, 6), (5, 12), (9, 24)]
    for pause, (least, most) in zip(machine.pauses(), bounds, strict=True):
        assert least <= pause <= most


def test_an_unheard_built_stops_the_installer_and_says_why(
    gateway: Gateway, machine: Machine
) -> None:
    gateway.answers = [500]
    ended = machine.run(sections(gateway)["last post"])
    assert ended.returncode != 0
    assert "web01.example.org is installed, but" in ended.stderr
    assert "the last answer was 500" in ended.stderr
    assert len(gateway.bodies("built")) == 20
    assert max(machine.pauses()) <= 100


def test_a_gateway_that_is_not_there_stops_the_installer(
    gateway: Gateway, machine: Machine
) -> None:
    script = sections(gateway)["last post"].replace(gateway.url, "http://127.0.0.1:1")
    ended = machine.run(script)
    assert ended.returncode != 0
    assert "the last answer was 000" in ended.stderr


def test_machines_do_not_come_back_all_at_once(gateway: Gateway, machine: Machine) -> None:
    gateway.answers = [500]
    machine.run(sections(gateway)["last post"])
    # After the growth the pauses differ: 14 draws out of 60 s cannot all be one.
    assert len(set(machine.pauses()[6:])) > 1


def test_lost_progress_does_not_end_the_installation(gateway: Gateway, machine: Machine) -> None:
    gateway.answers = [500]
    assert machine.run(sections(gateway)["pre"].replace(WATCH, "")).returncode == 0
    assert json.loads(gateway.bodies("progress")[0])["stage"] == "anaconda started"
    assert len(gateway.bodies("progress")) == 3


def test_the_packages_are_counted_while_they_are_installed(
    gateway: Gateway, machine: Machine
) -> None:
    gateway.answers = [201]
    watched = sections(gateway)["pre"].replace("-lt 480", "-lt 3").replace(WATCH, "watch_packages")
    assert machine.run(watched).returncode == 0
    started, *counted = map(json.loads, gateway.bodies("progress"))
    assert started["stage"] == "anaconda started"
    # Said once, because the count does not change.
    assert counted == [{"stage": "installing packages", "detail": "2 packages so far"}]
    assert machine.pauses() == [15, 15, 15]


def test_the_log_of_a_failure_is_sent(gateway: Gateway, machine: Machine) -> None:
    log = machine.place / "anaconda.log"
    log.write_text("no such package: labos\n" * 9)
    script = sections(gateway)["onerror"].replace("/tmp/", f"{machine.place}/")
    gateway.answers = [201]
    assert machine.run(script).returncode == 0
    assert "no such package: labos" in gateway.bodies("failed")[0]


def test_the_installed_unit_reports_the_first_boot_and_removes_itself(
    gateway: Gateway, machine: Machine
) -> None:
    gateway.answers = [201]
    root = machine.place / "root"
    script = sections(gateway)["post"]
    for directory in ("/usr/local/sbin", "/etc/systemd"):
        script = script.replace(directory, f"{root}{directory}")
    installed = machine.run(script)
    assert installed.returncode == 0, installed.stderr
    progress = json.loads(gateway.bodies("progress")[0])
    assert progress == {"stage": "packages installed", "detail": "2 packages"}

    units = root / "etc/systemd/system"
    first_boot = root / "usr/local/sbin/rackrise-first-boot"
    assert (units / "multi-user.target.wants/rackrise-first-boot.service").is_symlink()
    unit = (units / "rackrise-first-boot.service").read_text()
    assert f"ExecStart={first_boot}\n" in unit
    assert first_boot.stat().st_mode & 0o777 == 0o700

    gateway.answers = [503, 201]
    ended = machine.run(str(first_boot))
    assert ended.returncode == 0, ended.stderr
    report = json.loads(gateway.bodies("report")[-1])
    assert report["addresses"] == ["127.0.0.1"]
    assert len(report["boot_id"]) == 36
    assert report["kernel"]
    assert report["root_device"]
    assert report["uptime_seconds"] > 0
    assert report["repositories"] == []
    assert [path for path in root.rglob("*") if not path.is_dir()] == []


REPOSITORIES = """\
# Managed by subscription-manager
[base]
name = Base "os"
baseurl = https://pulp.example.org/pulp/content/el/$releasever/$basearch/os https://two.example.org/
enabled = 1
[off]
baseurl=https://pulp.example.org/pulp/content/off/
enabled=0
[mirrored]
mirrorlist=https://mirror.example.org/?repo=x&arch=$basearch
"""


def test_the_first_report_names_the_enabled_repositories(
    gateway: Gateway, machine: Machine
) -> None:
    (machine.place / "repos").mkdir()
    (machine.place / "repos/a.repo").write_text(REPOSITORIES)
    (machine.place / "repos/b.repo").write_text('[odd"id]\nbaseurl=http://x.example/"\\\n')
    (machine.place / "os-release").write_text('ID="rhel"\nVERSION_ID="9.4"\n')
    script = sections(gateway)["post"].replace("/usr/local/sbin", f"{machine.place}/sbin")
    for place, here in (
        ("/etc/systemd", "systemd"),
        ("/etc/yum.repos.d", "repos"),
        ("/etc/os-release", "os-release"),
    ):
        script = script.replace(place, f"{machine.place}/{here}")
    gateway.answers = [201]
    assert machine.run(script).returncode == 0
    ended = machine.run(f"{machine.place}/sbin/rackrise-first-boot")
    assert ended.returncode == 0, ended.stderr
    report = FirstReport.model_validate_json(gateway.bodies("report")[-1])
    found = {one.id: one.url for one in report.repositories}
    machine_type = platform.machine()
    assert found == {
        "base": f"https://pulp.example.org/pulp/content/el/9/{machine_type}/os",
        "mirrored": f"https://mirror.example.org/?repo=x&arch={machine_type}",
        "oddid": "http://x.example/",
    }


def test_an_unheard_first_report_is_kept_for_the_next_boot(
    gateway: Gateway, machine: Machine
) -> None:
    gateway.answers = [201]
    script = sections(gateway)["post"].replace("/usr/local/sbin", f"{machine.place}/sbin")
    script = script.replace("/etc/systemd", f"{machine.place}/systemd")
    machine.run(script)
    first_boot = machine.place / "sbin/rackrise-first-boot"
    few = first_boot.read_text().replace("call_home report 60", "call_home report 2")
    first_boot.write_text(few)
    gateway.answers = [500]
    assert machine.run(str(first_boot)).returncode != 0
    assert first_boot.exists()


def test_the_machine_restarts_only_when_network_installation_is_ended(
    gateway: Gateway, machine: Machine
) -> None:
    gateway.answers = [201, 409, 409, 200]
    assert machine.run(sections(gateway)["last post"]).returncode == 0
    assert len(gateway.bodies("built")) == 1
    assert len(gateway.bodies("ended")) == 3
