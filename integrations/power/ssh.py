"""Restart a machine through its own operating system, over SSH (paramiko).

For machines without a BMC, and only for restarting: a machine that is off has no SSH, and one
that is silent may be off, hung, moved or behind a firewall.
"""

from __future__ import annotations

import asyncio
import base64
import io
from dataclasses import dataclass

import paramiko
from paramiko.pkey import UnknownKeyType

from integrations.errors import OutsideError, Refused, Unavailable, Unsupported
from integrations.power import BootDevice, PowerState
from integrations.power.settings import SshSettings

__all__ = ["SshPower"]

_SYSTEM = "SSH"
_KEYS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
_OUTPUT_LIMIT = 2000
_INSTEAD = "use Redfish or IPMI instead"


class SshPower:
    """Restarts one machine by a command; can neither switch nor choose what boots next."""

    def __init__(self, settings: SshSettings) -> None:
        self._settings = settings

    async def state(self) -> PowerState:
        """ON if the machine lets us in; UNKNOWN if it is silent, which is no proof of off."""
        try:
            await self._run("read the power state", "true")
        except Unavailable:
            return PowerState.UNKNOWN
        return PowerState.ON

    async def on(self) -> None:
        """Not possible over SSH.

        Raises:
            Unsupported: always.
        """
        raise self._error(
            Unsupported, "switch the machine on", f"a machine that is off has no SSH; {_INSTEAD}"
        )

    async def off(self) -> None:
        """Not possible over SSH: it could be asked for, and never be verified.

        Raises:
            Unsupported: always.
        """
        raise self._error(
            Unsupported,
            "switch the machine off",
            f"SSH can ask for a shutdown, but cannot see whether it is off; {_INSTEAD}",
        )

    async def reboot(self) -> None:
        """Run the restart command.

        A connection that ends without an exit status counts as obeyed, because a machine that
        restarts at once does not say good-bye. That it boots again is seen at what it asks for
        next, not here.

        Raises:
            Refused: unknown host key, wrong user key, or the command failed.
            Unavailable: nobody answers, or not in time.
        """
        operation = "restart the machine"
        command = self._settings.reboot_command
        result = await self._run(operation, command)
        if result.status > 0:
            raise self._error(
                Refused,
                operation,
                f"{command!r} ended with {result.status}: {result.printed or 'without a word'}",
            )

    async def boot_once(self, device: BootDevice) -> None:
        """Not possible over SSH.

        Raises:
            Unsupported: always.
        """
        raise self._error(
            Unsupported,
            f"boot once from {device}",
            f"the firmware's boot order is out of reach over SSH; {_INSTEAD}, or put the "
            "network first in the firmware and let the boot configuration decide",
        )

    async def close(self) -> None:
        """Nothing to give back: each command has a connection of its own."""

    async def _run(self, operation: str, command: str) -> _Result:
        settings = self._settings
        # The thread's own timeouts come first; this one catches a server that drips bytes.
        limit = 3 * settings.connect_deadline + settings.deadline
        try:
            async with asyncio.timeout(limit):
                return await asyncio.to_thread(self._talk, operation, command)
        except paramiko.AuthenticationException as error:
            raise self._error(
                Refused,
                operation,
                f"it does not accept the key of user {settings.user!r} ({error}); "
                "check the setting 'private_key' and the host's authorized_keys",
            ) from error
        except paramiko.BadHostKeyException as error:
            raise self._error(
                Refused,
                operation,
                f"it shows the host key {_name(error.key)}, not the one in the setting "
                "'host_key'; if the machine was installed anew, take over the new key",
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            raise self._error(Unavailable, operation, said) from error

    def _talk(self, operation: str, command: str) -> _Result:
        settings = self._settings
        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(_Refuse(self, operation))
            if settings.host_key is not None:
                key = self._pinned(settings.host_key, operation)
                client.get_host_keys().add(_known_as(settings), key.get_name(), key)
            client.connect(
                settings.host,
                port=settings.port,
                username=settings.user,
                pkey=self._own_key(operation),
                timeout=settings.connect_deadline,
                banner_timeout=settings.connect_deadline,
                auth_timeout=settings.connect_deadline,
                allow_agent=False,
                look_for_keys=False,
            )
            return _execute(client, command, settings.deadline)

    def _pinned(self, text: str, operation: str) -> paramiko.PKey:
        try:
            kind, encoded, *_ = text.split()
            return paramiko.PKey.from_type_string(kind, base64.b64decode(encoded, validate=True))
        except (ValueError, paramiko.SSHException, UnknownKeyType) as error:
            raise self._error(
                Refused,
                operation,
                "the setting 'host_key' is no public key; give it as in known_hosts without "
                "the name: 'ssh-ed25519 AAAA...'",
            ) from error

    def _own_key(self, operation: str) -> paramiko.PKey:
        text = self._settings.private_key.get_secret_value()
        for kind in _KEYS:
            try:
                return kind.from_private_key(io.StringIO(text))
            except paramiko.PasswordRequiredException:
                break
            except (paramiko.SSHException, ValueError, IndexError):
                continue  # some other kind of key
        # No cause attached: it could quote the key.
        raise self._error(
            Refused,
            operation,
            "the setting 'private_key' is no Ed25519, ECDSA or RSA private key without a "
            "passphrase",
        )

    def _error(self, kind: type[OutsideError], operation: str, said: str) -> OutsideError:
        settings = self._settings
        address = f"{settings.user}@{settings.host}:{settings.port}"
        return kind(system=_SYSTEM, address=address, operation=operation, said=said)


@dataclass(frozen=True)
class _Result:
    # -1 stands for a connection that ended before the exit status.
    status: int
    printed: str


class _Refuse(paramiko.MissingHostKeyPolicy):
    def __init__(self, power: SshPower, operation: str) -> None:
        self._power = power
        self._operation = operation

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        raise self._power._error(
            Refused,
            self._operation,
            f"its host key {_name(key)} is not known; compare the fingerprint on the machine "
            f"itself, then set 'host_key' to '{key.get_name()} {key.get_base64()}'",
        )


def _execute(client: paramiko.SSHClient, command: str, deadline: float) -> _Result:
    _, out, _ = client.exec_command(command, timeout=deadline)
    channel = out.channel
    channel.set_combine_stderr(True)
    printed = ""
    try:
        printed = out.read(_OUTPUT_LIMIT).decode(errors="replace").strip()
        ended = channel.status_event.wait(deadline)
    except TimeoutError:
        ended = False
    if not ended:
        raise TimeoutError(f"{command!r} did not end within {deadline:g} s")
    return _Result(channel.exit_status, printed)


def _known_as(settings: SshSettings) -> str:
    # How SSHClient.connect looks a host up.
    default = settings.port == paramiko.config.SSH_PORT
    return settings.host if default else f"[{settings.host}]:{settings.port}"


def _name(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"
