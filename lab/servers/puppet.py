"""A real Puppet server: plain Java with directories of its own, and a CA that is made once.

Its start costs a minute of processor time, so there is one for all tests of a run.
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from lab.authority import ClientCertificate
from lab.cache import Cache, key
from lab.namespace import Namespace, run
from lab.process import Running, free_port, running
from lab.reach import reach

__all__ = ["ORCHESTRATOR", "PORT", "SERVER", "PuppetServer", "puppet"]

SERVER = "puppet.lab.example"
"""The Puppet server's certname."""
ORCHESTRATOR = "rackrise.lab.example"
"""Name of the certificate that Rackrise has: it may use the CA."""
PORT = 8140
"""Inside a namespace; on the host's loopback any that is free."""

_PACKAGED = Path("/etc/puppet/puppetserver")
_JAR = Path("/usr/share/puppetserver/puppetserver.jar")
_SCRIPTS = Path(__file__).parents[2] / "examples/puppet"
_START_SECONDS = 420
_NAMES = "DNS:localhost,DNS:puppet,IP:127.0.0.1,IP:192.0.2.1"
"""Under which both certificates are valid: the loopback's names, and a lab's address."""
_JAVA = (
    "java",
    "-Xms512m",
    "-Xmx512m",
    # Halves the processor time of a start; a lab's server does not live long enough for more.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Djruby.lib=/usr/share/jruby/lib",
    "-Djruby.logger.class=com.puppetlabs.jruby_utils.jruby.Slf4jLogger",
    "-Dlogappender=STDOUT",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
)


@dataclass
class PuppetServer:
    """A running Puppet server, and the handles to break it.

    Args:
        url: in the network that it serves.
        here: as this process reaches it, also when it lives in a namespace.
        directory: everything of it.
        inside: the namespace that it serves.
    """

    url: str
    here: str
    directory: Path
    inside: Namespace | None
    _command: list[str]
    _process: AsyncExitStack = field(default_factory=AsyncExitStack)
    _running: Running | None = None

    @property
    def ca(self) -> Path:
        """Root and intermediate CA."""
        return self.directory / "conf/ssl/certs/ca.pem"

    @property
    def certificate(self) -> Path:
        """Rackrise's own."""
        return self.directory / f"conf/ssl/certs/{ORCHESTRATOR}.pem"

    @property
    def key(self) -> Path:
        """Of Rackrise's certificate."""
        return self.directory / f"conf/ssl/private_keys/{ORCHESTRATOR}.pem"

    @property
    def client(self) -> ClientCertificate:
        """What Rackrise speaks to the CA with."""
        return ClientCertificate(self.certificate, self.key, self.ca)

    @property
    def server_certificate(self) -> tuple[Path, Path]:
        """The Puppet server's own certificate and key, for what only it may do."""
        ssl_directory = self.directory / "conf/ssl"
        return (
            ssl_directory / f"certs/{SERVER}.pem",
            ssl_directory / f"private_keys/{SERVER}.pem",
        )

    @property
    def reports(self) -> Path:
        """Where its processor ``store`` keeps reports: ``NAME/YYYYMMDDHHMM.yaml``."""
        return self.directory / "var/reports"

    @property
    def facts(self) -> Path:
        """Where it keeps the facts of the last catalog request: ``NAME.json``."""
        return self.directory / "var/server_data/facts"

    @property
    def manifests(self) -> Path:
        """Manifests of the environment ``production``."""
        return self.directory / "code/environments/production/manifests"

    def tail(self) -> str:
        """The end of its log."""
        return self._running.tail() if self._running else ""

    def context(self, certificate: Path, private_key: Path) -> ssl.SSLContext:
        """TLS as somebody who has a certificate of this CA."""
        made = ssl.create_default_context(cafile=self.ca)
        made.load_cert_chain(certificate, private_key)
        return made

    async def start(self) -> None:
        """Start it, also again after ``stop``; a minute or more."""
        restart = self.directory / "run/restart"
        restart.write_text("0")

        async def ready() -> bool:
            return restart.read_text().startswith("1") and await self._answers()

        self._running = await self._process.enter_async_context(
            running(
                "puppetserver",
                self._command,
                log=self.directory / "log/server.log",
                ready=ready,
                deadline=_START_SECONDS,
                cwd=self.directory,
            )
        )

    async def stop(self) -> None:
        """End it: its port then refuses connections."""
        await self._process.aclose()
        self._running = None

    async def _answers(self) -> bool:
        context = self.context(*self.server_certificate)
        context.check_hostname = False
        try:
            async with httpx.AsyncClient(verify=context, timeout=20) as http:
                answer = await http.get(f"{self.here}/status/v1/simple")
        except httpx.HTTPError:
            return False
        return answer.text == "running"


@asynccontextmanager
async def puppet(
    directory: Path,
    *,
    inside: Namespace | None = None,
    cache: Cache | None = None,
    gateway: str = "",
) -> AsyncIterator[PuppetServer]:
    """Run a Puppet server with its own CA while the block lasts.

    Args:
        directory: empty; gets everything of the server.
        inside: the network to serve; None: the host's loopback.
        cache: of the CA.
        gateway: where Rackrise's gateway has its TLS listener. The server asks it whom to sign and
            what a host is, with the scripts that users copy, and tells it facts and reports. Empty:
            requests wait to be signed, and reports are only stored.

    Raises:
        RuntimeError: it ended, or was not ready in time; with what it printed.
    """
    made = await _authority(cache or Cache())
    address = inside.address if inside else "127.0.0.1"
    port = PORT if inside else free_port()
    await asyncio.to_thread(_lay_out, directory, made, address, port, gateway)
    command = [
        *_JAVA,
        f"-Djava.io.tmpdir={directory / 'tmp'}",
        *("-jar", str(_JAR), "--config", str(directory / "tk/conf.d")),
        *("--bootstrap-config", str(directory / "tk/services.d")),
        *("--restart-file", str(directory / "run/restart")),
    ]
    async with AsyncExitStack() as stack:
        here = f"https://{address}:{port}"
        if inside:
            command = inside.command(*command)
            inner = await stack.enter_async_context(reach(inside, port, address))
            here = f"https://127.0.0.1:{inner}"
        server = PuppetServer(f"https://{address}:{port}", here, directory, inside, command)
        stack.push_async_callback(server.stop)
        await server.start()
        yield server


async def _authority(cache: Cache) -> Path:
    """CA, server's and Rackrise's certificates; made once on a machine."""

    async def build(made: Path) -> None:
        await asyncio.to_thread(_lay_out, made, None, "127.0.0.1", PORT)
        conf = ("--config", str(made / "conf/puppet.conf"))
        await run("puppetserver", "ca", "setup", *conf, deadline=300)
        await run(
            *("puppetserver", "ca", "generate", *conf, "--ca-client", "--force"),
            *("--certname", ORCHESTRATOR, "--subject-alt-names", _NAMES),
            deadline=300,
        )
        await asyncio.to_thread(_keep_only, made, "conf")

    return await cache.product("puppet-ca", key(Path(__file__)), build)


def _lay_out(
    directory: Path, made: Path | None, address: str, port: int, gateway: str = ""
) -> None:
    """Write the whole configuration; nothing of the packaged server's own is touched."""
    for name in ("conf", "var", "run", "log", "tmp", "tk/conf.d", "jruby-gems"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    if made is not None:
        shutil.copytree(made / "conf", directory / "conf", dirs_exist_ok=True)
    manifests = directory / "code/environments/production/manifests"
    manifests.mkdir(parents=True, exist_ok=True)
    (manifests / "site.pp").write_text("node default { }\n")
    (directory / "conf/puppet.conf").write_text(_puppet_conf(directory, port, gateway))
    if gateway:
        _copy_scripts(directory, gateway)
    shutil.copytree(_PACKAGED / "services.d", directory / "tk/services.d", dirs_exist_ok=True)
    for name in ("auth.conf", "ca.conf", "metrics.conf", "web-routes.conf"):
        shutil.copy(_PACKAGED / "conf.d" / name, directory / "tk/conf.d" / name)
    for name in ("logback.xml", "request-logging.xml"):
        text = (_PACKAGED / name).read_text()
        text = text.replace("/var/log/puppetserver", str(directory / "log"))
        (directory / "tk" / name).write_text(text)
    for name, text in _trapperkeeper(directory, address, port).items():
        (directory / "tk/conf.d" / name).write_text(text)


def _copy_scripts(directory: Path, gateway: str) -> None:
    """Install the example scripts as their comments say."""
    place = directory / "rackrise"
    shutil.copytree(_SCRIPTS, place)
    (place / "rackrise.conf").write_text(
        f"gateway={gateway}\n"
        f"certificate={directory}/conf/ssl/certs/{SERVER}.pem\n"
        f"key={directory}/conf/ssl/private_keys/{SERVER}.pem\n"
        f"ca={directory}/conf/ssl/certs/ca.pem\n"
        f"facts={directory}/var/server_data/facts\n"
    )


def _puppet_conf(directory: Path, port: int, gateway: str) -> str:
    asked = f"""\
autosign = {directory}/rackrise/rackrise-autosign
node_terminus = exec
external_nodes = {directory}/rackrise/rackrise-node
reports = store,http
reporturl = {gateway}/puppet/reports
"""
    alone = "autosign = false\nreports = store\n"
    return f"""\
[main]
confdir = {directory}/conf
ssldir = {directory}/conf/ssl
codedir = {directory}/code
vardir = {directory}/var
rundir = {directory}/run
logdir = {directory}/log
keylength = 2048
[server]
certname = {SERVER}
ca_server = {SERVER}
server = {SERVER}
dns_alt_names = {_NAMES.replace("DNS:", "")}
cadir = {directory}/conf/ca
serverport = {port}
ca_port = {port}
{asked if gateway else alone}"""


def _trapperkeeper(directory: Path, address: str, port: int) -> dict[str, str]:
    return {
        "global.conf": f'global: {{ logging-config: "{directory}/tk/logback.xml" }}\n',
        "webserver.conf": f"""\
webserver: {{
    access-log-config: "{directory}/tk/request-logging.xml"
    client-auth: want
    ssl-host: "{address}"
    ssl-port: {port}
}}
""",
        "puppetserver.conf": f"""\
jruby-puppet: {{
    ruby-load-path: [/usr/lib/puppetserver/ruby/vendor_ruby]
    gem-home: "{directory}/jruby-gems"
    gem-path: ["{directory}/jruby-gems", "/usr/lib/puppetserver/vendored-jruby-gems"]
    server-conf-dir: "{directory}/conf"
    server-code-dir: "{directory}/code"
    server-var-dir: "{directory}/var"
    server-run-dir: "{directory}/run"
    server-log-dir: "{directory}/log"
    max-active-instances: 1
}}
http-client: {{ }}
profiler: {{ enabled: false }}
""",
        # Else it tells its maker that it was started.
        "product.conf": "product: { check-for-updates: false }\n",
    }


def _keep_only(made: Path, name: str) -> None:
    for other in made.iterdir():
        if other.name != name:
            shutil.rmtree(other)
