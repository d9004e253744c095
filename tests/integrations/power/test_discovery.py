"""The discovery image's API, as the contract describes it, behind a mock transport."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from integrations.errors import Refused, Unavailable, Unsupported, Unverified
from integrations.power import BootDevice, PowerState
from integrations.power.discovery import DiscoveryPower, Kexec
from integrations.power.settings import DiscoverySettings

URL = "http://192.0.2.7:8448"
Handler = Callable[[httpx.Request], httpx.Response]


class Image:
    """Answers as the image does, and keeps what it was asked."""

    def __init__(self, looks_before_silence: int = 2) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.looks = looks_before_silence
        self.promised = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, str(request.url), request.content.decode()))
        if request.method == "PUT":
            self.promised = True
            return httpx.Response(200, json={"result": True})
        if self.promised:
            self.looks -= 1
            if self.looks < 0:
                raise httpx.ConnectError("no route to host")
        return httpx.Response(200, json={"ipaddress": "192.0.2.7"})


def power(handler: Handler, url: str = URL) -> DiscoveryPower:
    settings = DiscoverySettings(url=url, deadline=0.5, gone_within=0.2, poll_every=0.01)
    return DiscoveryPower(settings, httpx.AsyncClient(transport=httpx.MockTransport(handler)))


async def test_reboot_waits_until_the_image_is_silent() -> None:
    image = Image(looks_before_silence=3)
    await power(image).reboot()
    assert image.asked[0] == ("PUT", f"{URL}/power/reboot", "")
    assert image.looks == -1


async def test_reboot_goes_through_a_proxy() -> None:
    image = Image()
    await power(image, "https://192.0.2.1:8443/discovery/192.0.2.7").reboot()
    assert image.asked[0][1] == "https://192.0.2.1:8443/discovery/192.0.2.7/power/reboot"


async def test_a_proxy_that_lost_the_image_means_silence() -> None:
    def proxy(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            return httpx.Response(200, json={"result": True})
        return httpx.Response(502, text="no answer from 192.0.2.7")

    await power(proxy).reboot()


async def test_a_promise_that_is_not_kept_is_unverified() -> None:
    with pytest.raises(Unverified, match="still answers instead of silence"):
        await power(Image(looks_before_silence=10_000)).reboot()


async def test_an_old_image_is_rebooted_by_its_older_path() -> None:
    modern = Image()

    def old(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/power"):
            return httpx.Response(404, text="Requested url was not found")
        return modern(request)

    await power(old).reboot()
    assert modern.asked[0][1] == f"{URL}/bmc/192.0.2.7/chassis/power/cycle"


async def test_something_that_is_no_image_is_named() -> None:
    with pytest.raises(Unsupported, match="neither /power/reboot nor"):
        await power(lambda _: httpx.Response(404)).reboot()


async def test_kexec_sends_what_the_contract_says() -> None:
    image = Image()
    await power(image).kexec(
        Kexec(kernel="http://a/vmlinuz", initram="http://a/initrd", append="x=1", extra=("--y",))
    )
    method, url, body = image.asked[0]
    assert (method, url) == ("PUT", f"{URL}/power/kexec")
    assert json.loads(body) == {
        "kernel": "http://a/vmlinuz",
        "initram": "http://a/initrd",
        "append": "x=1",
        "extra": ["--y"],
    }


async def test_kexec_whose_download_failed_is_unverified() -> None:
    with pytest.raises(Unverified, match="start http://a/vmlinuz"):
        await power(Image(looks_before_silence=10_000)).kexec(
            Kexec(kernel="http://a/vmlinuz", initram="http://a/initrd", append="")
        )


@pytest.mark.parametrize("body", ['{"result":false}', '{"error":"not possible"}', "{}", "<html>"])
async def test_a_200_without_a_promise_is_refused(body: str) -> None:
    with pytest.raises(Refused):
        await power(lambda _: httpx.Response(200, text=body)).reboot()


async def test_server_errors_are_worth_another_try() -> None:
    with pytest.raises(Unavailable, match="answered 500"):
        await power(lambda _: httpx.Response(500, text="boom")).reboot()


async def test_state_is_unknown_when_nobody_answers() -> None:
    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route to host", request=request)

    assert await power(nobody).state() is PowerState.UNKNOWN
    assert await power(Image()).state() is PowerState.ON
    with pytest.raises(Unavailable, match=r"192\.0\.2\.7:8448 could not restart"):
        await power(nobody).reboot()


async def test_facts_are_read_flat_and_checked() -> None:
    assert await power(Image()).facts() == {"ipaddress": "192.0.2.7"}
    with pytest.raises(Refused, match="no facts"):
        await power(lambda _: httpx.Response(200, text="[1]")).facts()


async def test_what_the_image_cannot_do_says_what_can() -> None:
    image = power(Image())
    for call in (image.on(), image.off(), image.boot_once(BootDevice.PXE)):
        with pytest.raises(Unsupported, match="use Redfish or IPMI"):
            await call


async def test_a_missing_authority_file_is_reported_when_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DiscoveryPower(DiscoverySettings(url=URL, ca_file=tmp_path / "none.pem"))
