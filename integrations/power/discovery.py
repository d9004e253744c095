"""Restart a machine that runs the discovery image, or start another kernel on it.

The image serves a cut-down Smart Proxy (https 8443, http 8448) without any authorization; the
network between is what protects it. The same paths are offered by a proxy under
``/discovery/<ip>``.
"""

from __future__ import annotations

import asyncio
import ssl
from enum import StrEnum
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from integrations.errors import OutsideError, Refused, Unavailable, Unsupported
from integrations.power import BootDevice, PowerState
from integrations.power.settings import DiscoverySettings
from integrations.power.settling import settled

__all__ = ["DiscoveryPower", "Kexec"]

_SYSTEM = "discovery image"
_INSTEAD = "use Redfish or IPMI instead"
# One unanswered look is taken for silence, so it must be longer than a lost packet's resend.
_LOOK = 5.0

_Facts = TypeAdapter(dict[str, object])


class _Seen(StrEnum):
    IMAGE = "an image that still answers"
    SILENCE = "silence"


class Kexec(BaseModel):
    """What the image is to start in place of itself.

    Attributes:
        kernel: URL from which the image fetches the kernel.
        initram: URL of the initial memory disk.
        append: kernel command line.
        extra: further options of ``kexec`` itself.
    """

    model_config = ConfigDict(frozen=True)

    kernel: str
    initram: str
    append: str
    extra: tuple[str, ...] = ()


class _Answer(BaseModel):
    result: bool | str | None = None
    error: str | None = None


class DiscoveryPower:
    """The API of one discovery image.

    Args:
        settings: where it is.
        http: client to use instead of one made from the settings, for a proxy in this process
            or a test; the caller closes it.
    """

    def __init__(self, settings: DiscoverySettings, http: httpx.AsyncClient | None = None) -> None:
        self._settings = settings
        self._own = http is None
        self._http = http or httpx.AsyncClient(verify=_tls(settings), trust_env=False)

    async def state(self) -> PowerState:
        """ON if the image answers; UNKNOWN if not, which is no proof of off."""
        try:
            await self.facts()
        except Unavailable:
            return PowerState.UNKNOWN
        return PowerState.ON

    async def on(self) -> None:
        """Not possible: nothing runs on a machine that is off.

        Raises:
            Unsupported: always.
        """
        raise self._error(
            Unsupported, "switch the machine on", f"the image cannot do that; {_INSTEAD}"
        )

    async def off(self) -> None:
        """Not possible: the image only restarts.

        Raises:
            Unsupported: always.
        """
        raise self._error(
            Unsupported, "switch the machine off", f"the image only restarts; {_INSTEAD}"
        )

    async def reboot(self) -> None:
        """Restart, and wait until the image falls silent.

        The image promises at once and acts two seconds later. Old images know only the BMC
        path, which is tried when the newer one is not found.

        Raises:
            Unverified: it promised, and is still there.
        """
        operation = "restart the machine"
        try:
            await self._put(operation, "/power/reboot")
        except _NotThereError:
            host = urlsplit(self._settings.url).hostname
            try:
                await self._put(operation, f"/bmc/{host}/chassis/power/cycle")
            except _NotThereError:
                raise self._error(
                    Unsupported, operation, "neither /power/reboot nor the older path exists there"
                ) from None
        await self._silence(operation)

    async def kexec(self, kexec: Kexec) -> None:
        """Start another kernel, and wait until the image falls silent.

        The image promises first and downloads afterwards; a download that fails is only in its
        own log. That it stays is therefore the only sign of failure.

        Raises:
            Unverified: it promised, and is still there.
        """
        operation = f"start {kexec.kernel}"
        try:
            await self._put(operation, "/power/kexec", kexec)
        except _NotThereError:
            raise self._error(
                Unsupported, operation, "this image knows no kexec; restart it instead"
            ) from None
        await self._silence(operation)

    async def facts(self) -> dict[str, object]:
        """Read the image's facts: a flat mapping, as ``facter`` names them."""
        operation = "read the facts"
        answer = await self._ask(operation, "GET", "/inventory/facter")
        try:
            return _Facts.validate_json(answer.content)
        except ValidationError as error:
            raise self._error(
                Refused, operation, f"these are no facts: {answer.text[:200]!r}"
            ) from error

    async def boot_once(self, device: BootDevice) -> None:
        """Not possible: the image has no hand on the firmware.

        Raises:
            Unsupported: always.
        """
        raise self._error(
            Unsupported,
            f"boot once from {device}",
            f"the firmware is out of the image's reach; {_INSTEAD}, or start the kernel by kexec",
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._own:
            await self._http.aclose()

    async def _put(self, operation: str, path: str, body: Kexec | None = None) -> None:
        content = body.model_dump_json() if body else None
        answer = await self._ask(operation, "PUT", path, content)
        try:
            promise = _Answer.model_validate_json(answer.content)
        except ValidationError as error:
            raise self._error(Refused, operation, f"it said {answer.text[:200]!r}") from error
        if promise.error or not promise.result:
            # A Smart Proxy answers 200 with an error inside.
            raise self._error(Refused, operation, promise.error or f"it said {answer.text[:200]!r}")

    async def _ask(
        self, operation: str, method: str, path: str, content: str | None = None
    ) -> httpx.Response:
        url = self._settings.url + path
        headers = {"Content-Type": "application/json"} if content else {}
        try:
            async with asyncio.timeout(self._settings.deadline):
                answer = await self._http.request(
                    method, url, content=content, headers=headers, timeout=self._settings.deadline
                )
        except (httpx.HTTPError, TimeoutError) as error:
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
                raise self._error(Refused, operation, f"{said}; check 'ca_file'") from error
            raise self._error(Unavailable, operation, said) from error
        if answer.is_success:
            return answer
        said = f"{method} {path} answered {answer.status_code}: {answer.text[:200]!r}"
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise _NotThereError(
                system=_SYSTEM, address=self._settings.url, operation=operation, said=said
            )
        kind = Unavailable if answer.is_server_error else Refused
        raise self._error(kind, operation, said)

    async def _silence(self, operation: str) -> None:
        await settled(
            self._look,
            _Seen.SILENCE,
            within=self._settings.gone_within,
            every=self._settings.poll_every,
            system=_SYSTEM,
            address=self._settings.url,
            operation=operation,
        )

    async def _look(self) -> _Seen:
        url = self._settings.url + "/inventory/facter"
        try:
            async with asyncio.timeout(_LOOK):
                answer = await self._http.get(url, timeout=_LOOK)
        except (httpx.HTTPError, TimeoutError):
            return _Seen.SILENCE
        # Behind a proxy, its 5xx is the image's silence.
        return _Seen.IMAGE if answer.is_success else _Seen.SILENCE

    def _error(self, kind: type[OutsideError], operation: str, said: str) -> OutsideError:
        return kind(system=_SYSTEM, address=self._settings.url, operation=operation, said=said)


class _NotThereError(Unsupported):
    """404: the path does not exist, at least not there."""


def _tls(settings: DiscoverySettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.ca_file is None:
        # By design: see DiscoverySettings.ca_file.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate_file and settings.key_file:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    return context


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
