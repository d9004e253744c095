"""Restarting over SSH, against a real sshd."""

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from integrations.errors import Refused, Unavailable, Unsupported
from integrations.power import BootDevice, PowerState
from integrations.power.settings import SshSettings
from integrations.power.ssh import SshPower
from lab.namespace import run
from lab.servers.bmc import SshServer, sshd
from tests.integrations.power.bmcs import free_port

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SshServer]:
    port = free_port(socket.SOCK_STREAM)
    async with sshd(tmp_path_factory.mktemp("sshd"), port=port) as server:
        yield server


def power(server: SshServer, **other: object) -> SshPower:
    given = {
        "host": server.host,
        "port": server.port,
        "private_key": server.private_key,
        "host_key": server.host_key,
        "connect_deadline": 5,
    }
    return SshPower(SshSettings.model_validate(given | other))


async def key(directory: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    file = directory / kind
    await run("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(file))
    return file


async def test_reboot_runs_the_command(server: SshServer, tmp_path: Path) -> None:
    await power(server, reboot_command=f"touch {tmp_path}/rebooted").reboot()
    assert (tmp_path / "rebooted").exists()


async def test_a_host_that_goes_without_good_bye_has_obeyed(server: SshServer) -> None:
    # The parent of the shell is the sshd process of this very connection.
    await power(server, reboot_command="kill -9 $PPID").reboot()


async def test_a_command_that_fails_is_refused_with_its_words(server: SshServer) -> None:
    with pytest.raises(Refused, match="ended with 3: not allowed"):
        await power(server, reboot_command="echo not allowed >&2; exit 3").reboot()


async def test_a_command_that_hangs_is_unavailable(server: SshServer) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable, match="'sleep 20' did not end within 1 s"):
            await power(server, reboot_command="sleep 20", deadline=1).reboot()


async def test_an_unknown_host_key_is_refused_and_shown(server: SshServer) -> None:
    with pytest.raises(Refused) as caught:
        await power(server, host_key=None).reboot()
    assert "SHA256:" in str(caught.value)
    assert f"set 'host_key' to '{server.host_key}'" in str(caught.value)


async def test_another_host_key_is_refused(server: SshServer, tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa"):
        other = (await key(tmp_path, kind)).with_suffix(".pub").read_text()
        with pytest.raises(Refused, match="not the one in the setting 'host_key'"):
            await power(server, host_key=other).reboot()


async def test_a_host_key_that_is_none_is_refused(server: SshServer) -> None:
    for text in ("", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 @@@@", "x AAAA"):
        with pytest.raises(Refused, match="'host_key' is no public key"):
            await power(server, host_key=text).reboot()


async def test_another_user_key_is_refused(server: SshServer, tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa", "rsa"):
        other = (await key(tmp_path, kind)).read_text()
        with pytest.raises(Refused, match="authorized_keys"):
            await power(server, private_key=other).state()


async def test_a_user_key_that_is_none_is_refused_without_showing_it(
    server: SshServer, tmp_path: Path
) -> None:
    locked = (await key(tmp_path, passphrase="secret")).read_text()
    for text in ("geheim", "-----BEGIN OPENSSH PRIVATE KEY-----\ngeheim\n", locked):
        with pytest.raises(Refused, match="'private_key' is no") as caught:
            await power(server, private_key=text).reboot()
        told = "".join(traceback.format_exception(caught.value))
        assert "geheim" not in told
        assert locked.splitlines()[1] not in told


async def test_state_is_on_or_unknown_and_never_off(server: SshServer) -> None:
    assert await power(server).state() is PowerState.ON
    nobody = power(server, port=free_port(socket.SOCK_STREAM))
    assert await nobody.state() is PowerState.UNKNOWN
    with pytest.raises(Unavailable):
        await nobody.reboot()


async def test_silence_is_unavailable_within_the_deadline(server: SshServer) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        silent = power(server, port=deaf.getsockname()[1], connect_deadline=0.5)
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await silent.reboot()


async def test_what_ssh_cannot_do_says_what_can(server: SshServer) -> None:
    ssh = power(server)
    for call in (ssh.on(), ssh.off(), ssh.boot_once(BootDevice.PXE)):
        with pytest.raises(Unsupported, match="use Redfish or IPMI"):
            await call
