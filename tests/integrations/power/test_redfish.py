"""What only Redfish does: sessions, reset types asked of the device, several systems."""

import signal
from collections.abc import AsyncIterator

import httpx
import pytest
import sushy
from starlette.responses import PlainTextResponse

from integrations.errors import Refused, Unsupported
from integrations.power import redfish as driver
from integrations.power.redfish import RedfishPower
from lab.doubles.serve import served
from lab.servers.bmc import RedfishBmc, redfish
from tests.integrations.power.bmcs import SECRET, commands, redfish_settings

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
async def bmc(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedfishBmc]:
    directory = tmp_path_factory.mktemp("redfish")
    both = [commands("good"), commands("other")]
    async with redfish(directory, both, password=SECRET, login_slots=2) as bmc:
        yield bmc


@pytest.fixture
async def power(bmc: RedfishBmc) -> AsyncIterator[RedfishPower]:
    bmc.machines["good"].kill()
    power = RedfishPower(redfish_settings(bmc, "good"))
    yield power
    await power.close()


async def sessions(bmc: RedfishBmc) -> int:
    async with httpx.AsyncClient(auth=(bmc.user, bmc.password)) as http:
        answer = await http.get(f"{bmc.url}/redfish/v1/SessionService/Sessions")
    return int(answer.json()["Members@odata.count"])


async def test_one_login_serves_all_calls_and_is_given_back(bmc: RedfishBmc) -> None:
    for _ in range(3):
        power = RedfishPower(redfish_settings(bmc, "good"))
        await power.state()
        await power.reboot()
        assert await sessions(bmc) == 1
        await power.close()
        assert await sessions(bmc) == 0


async def test_full_login_slots_leave_basic_authentication(bmc: RedfishBmc) -> None:
    three = [RedfishPower(redfish_settings(bmc, "good")) for _ in range(3)]
    for power in three:
        await power.state()
    assert await sessions(bmc) == 2
    for power in three:
        await power.close()
    assert await sessions(bmc) == 0


async def test_a_bmc_that_is_gone_does_not_spoil_the_close(bmc: RedfishBmc) -> None:
    power = RedfishPower(redfish_settings(bmc, "good", request_deadline=1))
    await power.state()
    bmc.server.process.send_signal(signal.SIGSTOP)
    try:
        await power.close()
    finally:
        bmc.server.process.send_signal(signal.SIGCONT)


async def test_several_systems_must_be_told_apart(bmc: RedfishBmc) -> None:
    power = RedfishPower(redfish_settings(bmc, "good", system=None))
    with pytest.raises(Refused, match="setting 'system'"):
        await power.state()
    await power.close()


async def test_an_unknown_system_is_named(bmc: RedfishBmc) -> None:
    power = RedfishPower(redfish_settings(bmc, "good", system="/redfish/v1/Systems/7"))
    with pytest.raises(Refused, match="Systems/7"):
        await power.state()
    await power.close()


async def test_without_a_restart_it_is_switched_off_and_on(
    bmc: RedfishBmc, power: RedfishPower, monkeypatch: pytest.MonkeyPatch
) -> None:
    await power.on()
    before = bmc.machines["good"].pid()
    monkeypatch.setattr(driver, "_RESTART", (sushy.ResetType.POWER_CYCLE,))
    await power.reboot()
    assert bmc.machines["good"].pid() not in (None, before)


async def test_a_reset_type_that_is_not_offered_is_unsupported(
    power: RedfishPower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_SWITCH_ON", (sushy.ResetType.PUSH_POWER_BUTTON,))
    with pytest.raises(Unsupported, match=r"no PushPowerButton; it offers ForceOff, .*On"):
        await power.on()


async def test_a_reset_type_that_is_offered_and_not_known_is_unsupported(
    power: RedfishPower, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The emulator lists Nmi, and answers it with 501.
    monkeypatch.setattr(driver, "_SWITCH_ON", (sushy.ResetType.NMI,))
    with pytest.raises(Unsupported, match="could not switch the machine on"):
        await power.on()


async def test_something_that_is_no_bmc_is_named(bmc: RedfishBmc) -> None:
    async with served(PlainTextResponse("hello")) as url:
        power = RedfishPower(redfish_settings(bmc, "good", url=url))
        with pytest.raises(Refused, match="no Redfish service answers there"):
            await power.state()
        await power.close()
