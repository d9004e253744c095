"""Puppet's part of the kickstart as a machine runs it, with a puppet that does as it is told."""

from __future__ import annotations

import configparser
import json
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from templates.render import render_kickstart
from tests.templates.conftest import Gateway, Machine
from tests.templates.values import PUPPET, kickstart

_MOVED = ("/etc/puppetlabs", "/opt/puppetlabs", "/etc/puppet", "/usr/local/sbin", "/etc/systemd")


@pytest.fixture
def root(machine: Machine) -> Path:
    """Where the machine's system lies instead of /."""
    (machine.place / "bin").mkdir()
    return machine.place / "root"


def script(gateway: Gateway, root: Path) -> str:
    """Puppet's section, for a system at another root."""
    parser = KickstartParser(makeVersion("RHEL9"))
    values = kickstart(gateway_url=gateway.url, puppet=PUPPET)
    parser.readKickstartFromString(render_kickstart(values))
    (section,) = (one for one in parser.handler.scripts if "rackrise-puppet" in one.script)
    assert not section.errorOnFail
    text = str(section.script)
    for place in _MOVED:
        text = text.replace(place, f"{root}{place}")
    # Only what begins a path moves: the longer names hold the shorter ones.
    return text.replace(f"{root}{root}", str(root))


def puppet(machine: Machine, *codes: int) -> None:
    """A puppet that notes how it is called, and ends with these codes, the last one for ever."""
    tool = machine.place / "bin/puppet"
    left = machine.place / "codes"
    left.write_text("\n".join(map(str, codes)) + "\n")
    tool.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >>{machine.place}/calls\n'
        f"code=$(head -n 1 {left})\n"
        f'if [ "$(wc -l <{left})" -gt 1 ]; then sed -i 1d {left}; fi\n'
        'echo "Error: it ended with $code" >&2\nexit "$code"\n'
    )
    tool.chmod(0o755)


def run(machine: Machine, text: str) -> subprocess.CompletedProcess[str]:
    done = machine.run(text)
    assert PUPPET["token"] not in done.stdout + done.stderr
    return done


def calls(machine: Machine) -> list[str]:
    return (machine.place / "calls").read_text().splitlines()


def test_the_certificate_is_asked_for_with_the_token_which_is_then_gone(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    puppet(machine, 0)
    done = run(machine, script(gateway, root))
    assert done.returncode == 0, done.stderr
    assert calls(machine) == ["ssl bootstrap --waitforcert 15 --maxwaitforcert 180"]
    assert not (root / "etc/puppet/csr_attributes.yaml").exists()
    told = [json.loads(one) for one in gateway.bodies("progress")]
    assert told == [{"stage": "certificate signed", "detail": "by Puppet"}]
    settings = configparser.ConfigParser()
    settings.read(root / "etc/puppet/puppet.conf")
    assert settings["main"]["certname"] == "web01.example.org"
    assert settings["main"]["server"] == "puppet.example.org"
    assert settings["agent"]["http_keepalive_timeout"] == "0"


def test_a_request_that_nobody_signs_is_left_for_the_first_boot(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    puppet(machine, 1)
    assert run(machine, script(gateway, root)).returncode == 0
    token = root / "etc/puppet/csr_attributes.yaml"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert yaml.safe_load(token.read_text()) == {
        "custom_attributes": {"1.2.840.113549.1.9.7": PUPPET["token"]}
    }
    (told,) = (json.loads(one) for one in gateway.bodies("progress"))
    assert told == {"stage": "certificate not signed yet", "detail": "Error: it ended with 1"}


def test_a_system_without_puppet_says_so_and_is_installed_all_the_same(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    without = script(gateway, root).replace("command -v puppet", "command -v no-such-program")
    assert run(machine, without).returncode == 0
    (told,) = (json.loads(one) for one in gateway.bodies("progress"))
    assert told["stage"] == "puppet is missing"


def test_puppets_own_packages_have_their_own_places(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    puppet(machine, 0)
    (root / "opt/puppetlabs/bin").mkdir(parents=True)
    assert run(machine, script(gateway, root)).returncode == 0
    assert (root / "etc/puppetlabs/puppet/puppet.conf").is_file()
    assert not (root / "etc/puppet").exists()


@pytest.mark.parametrize(("codes", "runs"), [((2,), 1), ((6,), 1), ((1, 1, 0), 3), ((1,), 20)])
def test_the_first_boot_runs_the_agent_until_it_could_and_leaves_nothing(
    gateway: Gateway, machine: Machine, root: Path, codes: tuple[int, ...], runs: int
) -> None:
    gateway.answers = [201]
    puppet(machine, 1, *codes)  # first the bootstrap, which fails
    run(machine, script(gateway, root))
    units = root / "etc/systemd/system"
    assert (units / "multi-user.target.wants/rackrise-puppet.service").is_symlink()
    unit = (units / "rackrise-puppet.service").read_text()
    program = root / "usr/local/sbin/rackrise-puppet"
    assert f"ExecStart={program}\n" in unit
    assert stat.S_IMODE(program.stat().st_mode) == 0o700
    run(machine, str(program))
    _, *agent = calls(machine)
    assert len(agent) == runs
    assert all(one.startswith("agent --onetime ") for one in agent)
    assert all("--no-usecacheonfailure" in one for one in agent)
    left = [path.name for path in root.rglob("*") if not path.is_dir()]
    assert left == ["puppet.conf"]


def test_the_package_is_asked_for_where_the_group_does_not_name_it() -> None:
    def named(*packages: str) -> list[str]:
        text = render_kickstart(kickstart(puppet=PUPPET, packages=packages))
        section = text.split("%packages\n")[1].split("%end")[0]
        return section.split()

    assert named("@core") == ["@core", "puppet-agent"]
    assert named("puppet-agent", "@core") == ["puppet-agent", "@core"]


def test_a_host_without_puppet_has_nothing_of_it() -> None:
    assert "puppet" not in render_kickstart(kickstart()).lower()


@pytest.mark.parametrize(
    "wrong",
    [
        {"server": "puppet.example.org\nca_server = evil"},
        {"certname": "web01;reboot"},
        {"environment": "Production"},
        {"token": "RACKRISE_TOKEN"},
    ],
)
def test_values_that_could_say_more_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        kickstart(puppet=PUPPET | wrong)
