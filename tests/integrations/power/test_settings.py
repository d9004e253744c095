"""Settings of all protocols: told apart by kind, and shy about secrets."""

import pytest
from pydantic import ValidationError

from integrations.power.discovery import DiscoveryPower
from integrations.power.factory import power_for
from integrations.power.ipmi import IpmiPower
from integrations.power.redfish import RedfishPower
from integrations.power.settings import POWER_SETTINGS
from integrations.power.ssh import SshPower

LOGIN = {"user": "admin", "password": "geheim-7"}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"kind": "discovery", "url": "https://192.0.2.7:8443"}, DiscoveryPower),
        ({"kind": "ssh", "host": "h", "private_key": "k"}, SshPower),
        ({"kind": "redfish", "url": "https://192.0.2.8", **LOGIN}, RedfishPower),
        ({"kind": "ipmi", "host": "192.0.2.8", **LOGIN}, IpmiPower),
    ],
)
async def test_the_kind_decides_the_protocol(given: dict[str, str], kind: type) -> None:
    power = power_for(POWER_SETTINGS.validate_python(given))
    assert isinstance(power, kind)
    await power.close()


def test_secrets_are_not_shown() -> None:
    given = POWER_SETTINGS.validate_python({"kind": "ipmi", "host": "h", **LOGIN})
    assert "geheim-7" not in repr(given) + given.model_dump_json()


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "redfish", "url": "https://admin:geheim-7@192.0.2.8", **LOGIN},
        {"kind": "redfish", "url": "geheim-7", **LOGIN},
        {"kind": "ipmi", "host": "-geheim-7", **LOGIN},
        {"kind": "ipmi", "host": "h", "user": "-geheim-7", "password": "x"},
        {"kind": "ipmi", "host": "h", "user": "u", "password": "geheim-7" * 3},
        {"kind": "ipmi", "host": "h", "pasword": "geheim-7", "user": "u", "password": "x"},
        {"kind": "discovery", "url": "http://h", "certificate_file": "geheim-7"},
    ],
)
def test_bad_settings_are_refused_without_repeating_them(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        POWER_SETTINGS.validate_python(given)
    assert "geheim-7" not in str(caught.value)
