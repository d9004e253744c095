"""Switch machines through a Smart Proxy's bmc feature, which hides errors in its 200."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter

from integrations.errors import Refused
from integrations.power import BootDevice, PowerState
from integrations.smart_proxy.answers import BmcAnswer
from integrations.smart_proxy.wire import Form, Wire

__all__ = ["BmcAccess", "BmcCalls", "PowerAction"]

PowerAction = Literal["on", "off", "soft", "cycle"]

_ANSWER = TypeAdapter(BmcAnswer)


class BmcAccess(BaseModel):
    """Which controller, through which of the proxy's providers, and as whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    provider: Literal["redfish", "ipmitool", "freeipmi", "ssh"] = "redfish"
    user: str = ""
    password: SecretStr = SecretStr("")


class BmcCalls:
    """The ``/bmc`` mount; ``cycle`` restarts, as ``reset`` is missing from the Redfish provider."""

    _wire: Wire

    async def bmc_state(self, bmc: BmcAccess) -> PowerState:
        """The machine's power state; an ssh provider's "off" is UNKNOWN: it may be any failure."""
        said = await self._bmc(bmc, "GET", "chassis/power/status", f"read the power of {bmc.host}")
        text = str(said.result).strip().lower()
        state = {"on": PowerState.ON, "off": PowerState.OFF}.get(text, PowerState.UNKNOWN)
        if bmc.provider == "ssh" and state is PowerState.OFF:
            return PowerState.UNKNOWN
        return state

    async def bmc_power(
        self, bmc: BmcAccess, action: Literal["on", "off", "soft", "cycle"]
    ) -> None:
        """Switch the machine; read ``bmc_state`` afterwards, where the provider can tell it."""
        operation = f"switch {bmc.host} {action}"
        said = await self._bmc(bmc, "PUT", f"chassis/power/{action}", operation, form={})
        # IPMI answers true or "<host>: ok", ssh nothing; a plain false is a refusal.
        if said.result is False:
            raise self._wire.unverified(operation, "the controller answered false")

    async def bmc_boot(
        self, bmc: BmcAccess, device: BootDevice, *, persistent: bool = False, reboot: bool = False
    ) -> None:
        """Choose what the machine boots next; the API cannot read it back.

        Fields that are false are left out: the text "false" counts as true upstream, and
        restarts the machine.
        """
        flags = {"reboot": reboot, "persistent": persistent}
        await self._bmc(
            bmc,
            "PUT",
            f"chassis/config/bootdevice/{device}",
            f"have {bmc.host} boot from {device}",
            form={name: "true" for name, wanted in flags.items() if wanted},
        )

    async def _bmc(
        self, bmc: BmcAccess, method: str, call: str, operation: str, form: Form | None = None
    ) -> BmcAnswer:
        password = bmc.password.get_secret_value()
        answer = await self._wire.ask(
            method,
            f"/bmc/{bmc.host}/{call}",
            operation=operation,
            form=form,
            query={"bmc_provider": bmc.provider},
            auth=(bmc.user, password) if bmc.user or password else None,
        )
        said = answer.parsed(_ANSWER)
        if said.error:
            raise Refused(
                system="Smart Proxy",
                address=self._wire.address,
                operation=operation,
                said=f"200 with error: {said.error}",
            )
        return said
