"""The registration part of the kickstart as a machine runs it, with a client that obeys."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from templates.render import render_kickstart
from tests.templates.conftest import Gateway, Machine
from tests.templates.values import PEM, RHSM, kickstart

_MOVED = ("/etc/rhsm", "/etc/pki", "/usr/local/sbin", "/etc/systemd", "/usr/libexec")
_CLIENT = """\
#!/bin/sh
echo "$(basename "$0") $*" >>PLACE/calls
consumer=PLACE/root/etc/pki/consumer
case "$1" in
  identity) [ ! -e PLACE/away ] && [ -e "$consumer/cert.pem" ] || exit 1 ;;
  clean) rm -f "$consumer/cert.pem" ;;
  register)
    what=$(head -n 1 PLACE/registers)
    if [ "$(wc -l <PLACE/registers)" -gt 1 ]; then sed -i 1d PLACE/registers; fi
    case $what in
      done) mkdir -p "$consumer"; echo new >"$consumer/cert.pem" ;;
      half)
        mkdir -p "$consumer"; echo new >"$consumer/cert.pem"
        echo "profile upload crashed" >&2; exit 70 ;;
      *) echo "HTTP error: $what" >&2; exit 70 ;;
    esac ;;
esac
"""


@pytest.fixture
def root(machine: Machine) -> Path:
    """Where the machine's system lies instead of /."""
    (machine.place / "bin").mkdir()
    return machine.place / "root"


def script(gateway: Gateway, root: Path, **changes: object) -> str:
    """The registration's section, for a system at another root, without its pauses."""
    parser = KickstartParser(makeVersion("RHEL9"))
    values = kickstart(gateway_url=gateway.url, rhsm=RHSM | changes)
    parser.readKickstartFromString(render_kickstart(values))
    (section,) = (one for one in parser.handler.scripts if "rackrise-rhsm" in one.script)
    assert not section.errorOnFail
    text = str(section.script)
    for place in _MOVED:
        text = text.replace(place, f"{root}{place}")
    return text.replace(f"{root}{root}", str(root)).replace("sleep 20", "sleep 0")


def client(machine: Machine, *registers: str) -> None:
    """A subscription-manager whose registrations end so, the last one for ever."""
    (machine.place / "registers").write_text("\n".join(registers) + "\n")
    for name in ("subscription-manager", "rhsm-package-profile-uploader"):
        tool = machine.place / "bin" / name
        tool.write_text(_CLIENT.replace("PLACE", str(machine.place)))
        tool.chmod(0o755)


def run(machine: Machine, text: str) -> subprocess.CompletedProcess[str]:
    done = machine.run(text)
    assert "cafe0123" not in done.stdout + done.stderr
    return done


def calls(machine: Machine) -> list[str]:
    return (machine.place / "calls").read_text().splitlines()


REGISTER = (
    "subscription-manager register --name=web01.example.org --org=ACME --activationkey=web,cafe0123"
)
IDENTITY, CLEAN = "subscription-manager identity", "subscription-manager clean"
UPLOAD = "rhsm-package-profile-uploader --force-upload"


def test_a_host_registers_as_a_real_one_does_and_the_keys_are_gone(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    client(machine, "done")
    done = run(machine, script(gateway, root))
    assert done.returncode == 0, done.stderr
    assert calls(machine) == [
        "subscription-manager config --server.hostname=rackrise.example.org --server.port=8444"
        " --server.prefix=/rhsm",
        "subscription-manager config --rhsm.baseurl=https://pulp.example.org/pulp/content",
        f"subscription-manager config --rhsm.repo_ca_cert={root}/etc/rhsm/ca/rackrise.pem",
        IDENTITY,
        CLEAN,
        REGISTER,
    ]
    assert (root / "etc/rhsm/ca/rackrise.pem").read_text() == PEM
    (told,) = (json.loads(one) for one in gateway.bodies("progress"))
    assert told == {"stage": "registered", "detail": "at Candlepin, with its packages"}
    assert not list(root.rglob("rackrise-rhsm*"))


def test_a_report_that_fails_after_the_consumer_exists_is_sent_again(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    client(machine, "half")
    assert run(machine, script(gateway, root)).returncode == 0
    assert calls(machine)[-4:] == [CLEAN, REGISTER, IDENTITY, UPLOAD]
    assert not list(root.rglob("rackrise-rhsm*"))


def test_what_fails_in_the_installer_is_done_at_the_first_boot(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    client(machine, "503", "503", "503", "done")
    assert run(machine, script(gateway, root)).returncode == 0
    (told,) = (json.loads(one) for one in gateway.bodies("progress"))
    assert told["stage"] == "not registered yet"
    kept = root / "usr/local/sbin/rackrise-rhsm"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    unit = (root / "etc/systemd/system/rackrise-rhsm.service").read_text()
    assert "rackrise-rhsm 30" in unit
    wants = root / "etc/systemd/system/multi-user.target.wants/rackrise-rhsm.service"
    assert wants.is_symlink()
    done = machine.run(f"{kept} 30")
    assert done.returncode == 0, done.stderr
    assert calls(machine).count(REGISTER) == 4
    assert not list(root.rglob("rackrise-rhsm*"))
    assert not wants.is_symlink()


def consumer(root: Path) -> Path:
    """The identity of the machine's host."""
    file = root / "etc/pki/consumer/cert.pem"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def test_an_identity_is_kept_while_the_server_is_only_away(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    client(machine, "503", "503", "done")
    own = consumer(root)
    own.write_text("own\n")
    (machine.place / "away").touch()
    assert run(machine, script(gateway, root)).returncode == 0
    assert calls(machine).count(REGISTER) == 2
    assert own.read_text() == "own\n"
    # It is back, and did not know the host: the old identity gives way to a new one.
    done = machine.run(f"{root}/usr/local/sbin/rackrise-rhsm 1")
    assert done.returncode == 0, done.stderr
    assert own.read_text() == "new\n"


def test_a_host_that_is_registered_only_reports(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    client(machine, "done")
    consumer(root).write_text("own\n")
    assert run(machine, script(gateway, root)).returncode == 0
    assert calls(machine)[-2:] == [IDENTITY, UPLOAD]


def test_a_system_without_the_client_says_so_and_is_installed_all_the_same(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    text = script(gateway, root).replace(
        "command -v subscription-manager", "command -v no-such-program"
    )
    assert run(machine, text).returncode == 0
    (told,) = (json.loads(one) for one in gateway.bodies("progress"))
    assert told["stage"] == "subscription-manager is missing"


def test_what_the_site_does_not_say_is_left_as_it_is(
    gateway: Gateway, machine: Machine, root: Path
) -> None:
    gateway.answers = [201]
    client(machine, "done")
    assert run(machine, script(gateway, root, ca=None, content_url=None)).returncode == 0
    assert not list((root / "etc/rhsm/ca").iterdir())
    assert len([one for one in calls(machine) if " config " in one]) == 1


def test_a_host_without_subscriptions_has_no_word_of_it() -> None:
    text = render_kickstart(kickstart())
    assert "subscription-manager" not in text
    assert "rhsm" not in text
    packages = render_kickstart(kickstart(rhsm=RHSM)).splitlines()
    assert packages.count("subscription-manager") == 1
    named = kickstart(rhsm=RHSM, packages=("@core", "subscription-manager"))
    assert render_kickstart(named).splitlines().count("subscription-manager") == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hostname", "a b"),
        ("hostname", "x'; reboot; '"),
        ("owner", "ACME'"),
        ("keys", "web,$(reboot)"),
        ("ca", "RACKRISE_CA\nreboot\n"),
        ("ca", f"{PEM}RACKRISE_CA\nreboot\n"),
        ("content_url", "https://pulp.example.org/'"),
        ("prefix", "/rhsm'"),
    ],
)
def test_no_value_can_add_a_line_of_its_own(key: str, value: str) -> None:
    with pytest.raises(ValidationError, match=key):
        kickstart(rhsm=RHSM | {key: value})
