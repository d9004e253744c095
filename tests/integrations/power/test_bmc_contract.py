"""What Redfish and IPMI must both do, against a real BMC of each kind."""

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from integrations.errors import Refused, Unavailable, Unverified
from integrations.power import BootDevice, Power, PowerState
from integrations.power.factory import power_for
from integrations.power.settings import RedfishSettings
from tests.integrations.power.bmcs import (
    DISK,
    NETWORK,
    SECRET,
    Rig,
    free_port,
    ipmi_rig,
    redfish_rig,
    runs,
)

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

RIGS = {"redfish": redfish_rig, "ipmi": ipmi_rig}


@pytest.fixture(scope="module", params=sorted(RIGS))
async def rig(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    directory: Path = tmp_path_factory.mktemp(request.param)
    async with RIGS[request.param](directory) as rig:
        yield rig


@pytest.fixture
async def power(rig: Rig) -> AsyncIterator[Power]:
    rig.machine.kill()
    rig.machine.clear_override()
    power = power_for(rig.settings())
    yield power
    await power.close()


async def test_on_starts_the_machine_and_on_again_leaves_it_alone(power: Power, rig: Rig) -> None:
    assert await power.state() is PowerState.OFF
    await power.on()
    started = rig.machine.pid()
    assert started is not None
    assert await power.state() is PowerState.ON
    await power.on()
    assert rig.machine.pid() == started


async def test_off_kills_the_machine_and_off_again_is_fine(power: Power, rig: Rig) -> None:
    await power.on()
    await power.off()
    assert rig.machine.pid() is None
    assert await power.state() is PowerState.OFF
    await power.off()


async def test_a_machine_that_ended_by_itself_is_off(power: Power, rig: Rig) -> None:
    await power.on()
    rig.machine.kill()
    assert await power.state() is PowerState.OFF


async def test_reboot_really_restarts(power: Power, rig: Rig) -> None:
    await power.on()
    before = rig.machine.pid()
    await power.reboot()
    assert rig.machine.pid() not in (None, before)


async def test_reboot_switches_on_what_is_off(power: Power, rig: Rig) -> None:
    await power.reboot()
    assert rig.machine.pid() is not None


async def test_an_override_holds_for_one_boot(power: Power, rig: Rig) -> None:
    await power.boot_once(BootDevice.PXE)
    await power.on()
    assert runs(rig.machine) == NETWORK
    await power.reboot()
    assert runs(rig.machine) == DISK


async def test_an_override_can_be_changed_before_the_boot(power: Power, rig: Rig) -> None:
    await power.boot_once(BootDevice.PXE)
    await power.boot_once(BootDevice.DISK)
    await power.on()
    assert runs(rig.machine) == DISK


async def test_a_dropped_override_is_unverified(rig: Rig) -> None:
    power = power_for(rig.forgetful_settings)
    with pytest.raises(Unverified, match="instead of"):
        await power.boot_once(BootDevice.PXE)
    await power.close()
    assert rig.forgetful.override() is None


@pytest.mark.parametrize("wrong", [{"password": "wrong-pass-3c"}, {"user": "nobody"}])
async def test_wrong_credentials_are_refused_at_once(rig: Rig, wrong: dict[str, str]) -> None:
    power = power_for(rig.settings(**wrong))
    with pytest.raises(Refused, match="password") as caught:
        await power.state()
    await power.close()
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told
    assert "wrong-pass-3c" not in told


def on_port(rig: Rig, port: int) -> Power:
    where: dict[str, object] = {"port": port}
    if isinstance(rig.forgetful_settings, RedfishSettings):
        where = {"url": f"http://127.0.0.1:{port}"}
    return power_for(rig.settings(request_deadline=0.5, **where))


async def test_nobody_there_is_unavailable(rig: Rig) -> None:
    power = on_port(rig, free_port(socket.SOCK_STREAM))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        await power.state()
    await power.close()


async def test_silence_is_unavailable_within_the_deadline(rig: Rig) -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as deaf,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as deaf_udp,
    ):
        port = deaf.getsockname()[1]
        deaf_udp.bind(("127.0.0.1", port))
        power = on_port(rig, port)
        calls: list[Callable[[], Awaitable[object]]] = [power.state, power.on, power.reboot]
        for call in calls:
            async with asyncio.timeout(5):
                with pytest.raises(Unavailable):
                    await call()
        await power.close()
