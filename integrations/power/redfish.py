"""Switch a machine through its Redfish BMC (DMTF DSP0266), by way of OpenStack's sushy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sushy
from sushy import auth, exceptions
from sushy.connector import Connector

from integrations.errors import OutsideError, Refused, Unavailable, Unsupported
from integrations.power import BootDevice, PowerState
from integrations.power.redfish_errors import from_sushy
from integrations.power.settings import RedfishSettings
from integrations.power.settling import settled

__all__ = ["RedfishPower"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_SYSTEM = "Redfish"
_BOOT = {BootDevice.PXE: sushy.BootSource.PXE, BootDevice.DISK: sushy.BootSource.HDD}
_STATES = {sushy.PowerState.ON: PowerState.ON, sushy.PowerState.OFF: PowerState.OFF}

# In order of preference; which of them exist is asked of the BMC.
_SWITCH_ON = (sushy.ResetType.ON, sushy.ResetType.FORCE_ON)
_SWITCH_OFF = (sushy.ResetType.FORCE_OFF,)
# Not the graceful restart: an operating system that hangs, or an installer, does not obey it.
_RESTART = (sushy.ResetType.FORCE_RESTART, sushy.ResetType.POWER_CYCLE)


@dataclass(frozen=True)
class _Override:
    target: str
    enabled: str

    def __str__(self) -> str:
        return f"{self.target} ({self.enabled})"


class RedfishPower:
    """Power and next boot of one system behind one BMC.

    Logs in once and uses that session until ``close``: BMCs have few login slots, and a client
    that leaves its sessions behind locks everybody out. A BMC without sessions gets HTTP basic
    authentication.
    """

    def __init__(self, settings: RedfishSettings) -> None:
        self._settings = settings
        self._connection: _Connection | None = None
        self._turn = asyncio.Lock()

    async def state(self) -> PowerState:
        """Read the power state; the states between on and off are UNKNOWN."""
        return await self._ask("read the power state", _power_state)

    async def on(self) -> None:
        """Switch on and wait until the BMC reports on."""
        operation = "switch the machine on"
        if await self._ask(operation, _power_state) is not PowerState.ON:
            await self._ask(operation, _reset_by(_SWITCH_ON))
            await self._settle(operation, PowerState.ON)

    async def off(self) -> None:
        """Cut the power and wait until the BMC reports off."""
        operation = "switch the machine off"
        if await self._ask(operation, _power_state) is not PowerState.OFF:
            await self._ask(operation, _reset_by(_SWITCH_OFF))
            await self._settle(operation, PowerState.OFF)

    async def reboot(self) -> None:
        """Restart hard, or switch on what is off; returns when the BMC reports on.

        A BMC without a restart is switched off and on. That the machine boots again is
        seen at what it asks for next, not here: most BMCs report on throughout.
        """
        operation = "restart the machine"
        if await self._ask(operation, _power_state) is PowerState.OFF:
            await self.on()
            return
        if await self._ask(operation, _can_restart):
            await self._ask(operation, _reset_by(_RESTART))
            await self._settle(operation, PowerState.ON)
        else:
            await self.off()
            await self.on()

    async def boot_once(self, device: BootDevice) -> None:
        """Override the next boot and wait until the BMC reports exactly that override.

        Raises:
            Unsupported: the BMC does not offer this boot device.
            Unverified: the BMC dropped the override, or took it for good.
        """
        operation = f"boot once from {device}"
        wanted = _Override(_BOOT[device].value, sushy.BootSourceOverrideEnabled.ONCE.value)
        await self._ask(operation, lambda system: _override_once(system, _BOOT[device]))
        await self._settled(operation, _override, wanted)

    async def close(self) -> None:
        """Log out of the BMC; a BMC that is gone by then is logged, not raised."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            async with asyncio.timeout(self._settings.request_deadline):
                await asyncio.to_thread(connection.close)
        except (exceptions.SushyError, TimeoutError) as error:
            log.warning("could not log out of %s: %s", self._settings.url, error)

    async def _settle(self, operation: str, wanted: PowerState) -> None:
        await self._settled(operation, _power_state, wanted)

    async def _settled(self, operation: str, look: Callable[[Any], T], wanted: T) -> None:
        await settled(
            lambda: self._ask(operation, look),
            wanted,
            within=self._settings.settle_within,
            every=self._settings.poll_every,
            system=_SYSTEM,
            address=self._settings.url,
            operation=operation,
        )

    async def _ask(self, operation: str, work: Callable[[Any], T]) -> T:
        settings = self._settings
        try:
            async with self._turn, asyncio.timeout(settings.request_deadline):
                return await asyncio.to_thread(self._work, work)
        except TimeoutError as error:
            # The thread still owns that connection until its own timeout ends it.
            self._connection = None
            raise self._error(
                Unavailable, operation, f"no answer within {settings.request_deadline:g} s"
            ) from error
        except exceptions.SushyError as error:
            raise from_sushy(error, address=settings.url, operation=operation) from error
        except _NotOfferedError as error:
            raise self._error(Unsupported, operation, str(error)) from error
        except (ValueError, AttributeError) as error:
            # sushy's way to say that the body is no JSON, or not the JSON of Redfish.
            raise self._error(
                Refused, operation, f"no Redfish service answers there ({type(error).__name__})"
            ) from error

    def _work(self, work: Callable[[Any], T]) -> T:
        if self._connection is None:
            self._connection = _Connection(self._settings)
        return work(self._connection.system())

    def _error(self, kind: type[OutsideError], operation: str, said: str) -> OutsideError:
        return kind(system=_SYSTEM, address=self._settings.url, operation=operation, said=said)


class _Connection:
    """One login; everything here blocks and runs in a thread."""

    def __init__(self, settings: RedfishSettings) -> None:
        verify = settings.verify
        self._identity = settings.system
        self._login = auth.SessionOrBasicAuth(settings.user, settings.password.get_secret_value())
        self._root = sushy.Sushy(
            settings.url,
            auth=self._login,
            connector=Connector(
                settings.url,
                verify=str(verify) if isinstance(verify, Path) else verify,
                # One try: sushy would sleep in our thread, and retries belong to the task.
                server_side_retries=1,
                default_request_timeout=settings.request_deadline,
                connect_timeout=min(10, settings.request_deadline),
            ),
        )

    def system(self) -> Any:
        return self._root.get_system(self._identity)

    def close(self) -> None:
        self._login.close()


class _NotOfferedError(Exception):
    """The BMC does not list what was to be asked of it."""


def _power_state(system: Any) -> PowerState:
    return _STATES.get(system.power_state, PowerState.UNKNOWN)


def _can_restart(system: Any) -> bool:
    return not system.get_allowed_reset_system_values().isdisjoint(_RESTART)


def _reset_by(choices: Sequence[sushy.ResetType]) -> Callable[[Any], None]:
    def reset(system: Any) -> None:
        allowed = system.get_allowed_reset_system_values()
        for choice in choices:
            if choice in allowed:
                system.reset_system(choice)
                return
        offered = ", ".join(sorted(value.value for value in allowed))
        wanted = " or ".join(value.value for value in choices)
        raise _NotOfferedError(f"the BMC has no {wanted}; it offers {offered}")

    return reset


def _override_once(system: Any, source: sushy.BootSource) -> None:
    allowed = system.get_allowed_system_boot_source_values()
    if source not in allowed:
        offered = ", ".join(sorted(value.value for value in allowed))
        raise _NotOfferedError(
            f"the BMC cannot boot from {source.value}, it offers {offered}; "
            "set the boot order in the firmware instead"
        )
    system.set_system_boot_options(target=source, enabled=sushy.BootSourceOverrideEnabled.ONCE)


def _override(system: Any) -> _Override:
    if system.boot is None:
        raise _NotOfferedError(
            "the BMC shows no boot override; set the boot order in the firmware instead"
        )
    target, enabled = system.boot.target, system.boot.enabled
    return _Override(
        target.value if target else "no target", enabled.value if enabled else "no duration"
    )
