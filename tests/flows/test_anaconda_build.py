"""The end of an installation: the host must boot its own disk from now on."""

from __future__ import annotations

import pytest

from flows.anaconda_build import anaconda_build
from inventory.arrows import Evidence
from inventory.life import HostState
from inventory.models import CallbackKind, StepState
from tasks.company import NothingDone
from tests.flows.bench import Bench

pytestmark = pytest.mark.usefixtures("bare")
MAC = "52:54:00:aa:bb:01"


async def test_the_boot_configuration_then_says_local_boot(bench: Bench) -> None:
    name = await bench.at(1, HostState.INSTALLED)
    await bench.told(name, CallbackKind.KICKSTART, remote="192.0.2.20")
    await anaconda_build.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.FIRST_BOOT
    (config,) = bench.boot_configs()
    assert "LOCALBOOT" in config.read_text()
    arrows = await bench.steps(name)
    assert {arrows[n].evidence for n in (28, 29)} == {Evidence.OBSERVED}
    assert arrows[18].evidence is Evidence.IMPLIED
    assert (await bench.build(name)).deadline is not None


async def test_a_group_that_wants_it_removed_has_it_removed(bench: Bench) -> None:
    name = await bench.selected(1, "grub")
    await bench.promise(name, "192.0.2.20")
    await bench.advance(name, HostState.INSTALLED)
    await bench.told(name, CallbackKind.KICKSTART, remote="192.0.2.20")
    await anaconda_build.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.FIRST_BOOT
    assert not list(bench.root.glob(f"grub2/grub.cfg-01-{MAC.replace(':', '-')}"))
    assert (await bench.steps(name))[29].state is StepState.DONE


async def test_a_foreign_configuration_in_its_place_is_left_alone(bench: Bench) -> None:
    name = await bench.at(1, HostState.INSTALLED)
    foreign = bench.root / "pxelinux.cfg" / f"01-{MAC.replace(':', '-')}"
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("# made by hand\n")
    with pytest.raises(NothingDone):
        await anaconda_build.fn(hosts=[name])
    assert foreign.read_text() == "# made by hand\n"
    assert (await bench.host(name)).state is HostState.HELD
    assert (await bench.build(name)).held_step == 28


async def test_the_lease_of_the_installer_is_seen(bench: Bench) -> None:
    name = await bench.at(1, HostState.INSTALLED)
    bench.dhcp.reservations.append({"hw-address": MAC, "ip-address": "192.0.2.20"})
    assert str(bench.dhcp.boot(MAC)) == "192.0.2.20"
    await anaconda_build.fn(hosts=[name])
    seen = (await bench.steps(name))[18]
    assert seen.evidence is Evidence.OBSERVED
    assert "lease of 192.0.2.20" in seen.seen


async def test_an_installer_that_called_from_another_address_holds_the_host(bench: Bench) -> None:
    name = await bench.at(1, HostState.INSTALLED)
    await bench.told(name, CallbackKind.KICKSTART, remote="192.0.2.200")
    with pytest.raises(NothingDone):
        await anaconda_build.fn(hosts=[name])
    build = await bench.build(name)
    assert (await bench.host(name)).state is HostState.HELD
    assert build.held_step == 18
    assert "192.0.2.200" in (build.held_reason or "")
    # Network installation has ended all the same: it must not be installed a second time.
    assert "LOCALBOOT" in bench.boot_configs()[0].read_text()
