"""The Redfish BMC of the lab: the sushy-tools emulator over machines of ours.

Run as its own process (``python -m lab.redfish_driver CONFIG``): the emulator is synchronous and
takes seconds to import. What it lacks against real BMCs is added here, because our client relies
on it: boot overrides that last for one boot, and login sessions that run out.
"""

from __future__ import annotations

import json
import secrets
import signal
import sys
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import flask
from sushy_tools import error
from sushy_tools.emulator import auth_basic
from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources.systems.base import AbstractSystemsDriver
from werkzeug.serving import make_server

from lab.machine import Override, Switched
from lab.redfish_config import BmcConfig

__all__ = ["serve"]

_SESSIONS = "/redfish/v1/SessionService/Sessions"
_TO_REDFISH = {"pxe": "Pxe", "disk": "Hdd"}
_FROM_REDFISH = {theirs: ours for ours, theirs in _TO_REDFISH.items()}

Environment = dict[str, Any]
StartResponse = Callable[..., Any]


class MachineDriver(AbstractSystemsDriver):  # type: ignore[misc]  # sushy-tools is not typed
    """The emulator's systems: switches processes."""

    def __init__(self, machines: Iterable[Switched]) -> None:
        super().__init__()
        self._machines = {switched.commands.uuid: switched for switched in machines}

    @property
    def driver(self) -> str:
        """How the emulator names it in its log."""
        return "<lab machines>"

    @property
    def systems(self) -> list[str]:
        """Identities of all systems."""
        return list(self._machines)

    def get(self, identity: str) -> Switched:
        """One machine by its identity."""
        try:
            return self._machines[identity]
        except KeyError:
            raise error.NotFound(f"There is no system {identity}") from None

    def uuid(self, identity: str) -> str:
        """The identity itself."""
        return self.get(identity).commands.uuid

    def name(self, identity: str) -> str:
        """The machine's name."""
        return self.get(identity).commands.name

    def get_power_state(self, identity: str) -> str:
        """Whether its process runs."""
        return "On" if self.get(identity).pid() else "Off"

    def set_power_state(self, identity: str, state: str) -> None:
        """Start and kill; what else Redfish knows is answered with 501."""
        machine = self.get(identity)
        match state:
            case "On" | "ForceOn":
                machine.start()
            case "ForceOff":
                machine.kill()
            case "GracefulShutdown":
                machine.shut_down()
            case "ForceRestart" | "GracefulRestart":
                machine.restart()
            case _:
                raise error.NotSupportedError(f"ResetType {state} is not supported")

    def get_boot_device(self, identity: str) -> str:
        """The override's device, or the usual one."""
        machine = self.get(identity)
        override = machine.override()
        return _TO_REDFISH[override.device if override else machine.commands.default]

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        """Override the boot device; for how long is in the request that is being served."""
        device = _FROM_REDFISH.get(boot_source)
        if device is None:
            raise error.BadRequest(f"Boot device {boot_source} is not supported")
        enabled = flask.request.get_json().get("Boot", {}).get("BootSourceOverrideEnabled")
        if enabled == "Disabled":
            self.get(identity).clear_override()
        else:
            self.get(identity).set_override(Override(device, once=enabled == "Once"))

    def get_boot_mode(self, identity: str) -> str:
        """All machines of the lab look like UEFI, as with sushy-tools' own driver."""
        return "UEFI"

    def enabled(self, identity: str) -> str:
        """How long the override lasts, in Redfish's words."""
        override = self.get(identity).override()
        if override is None:
            return "Disabled"
        return "Once" if override.once else "Continuous"


class Sessions(emulator.RedfishAuthMiddleware):  # type: ignore[misc]  # sushy-tools is not typed
    """Logins by session beside the emulator's basic authentication, with few slots."""

    def __init__(self, app: Any, auth_file: str, slots: int) -> None:
        super().__init__(app, auth_file)
        self._file = auth_file
        self._slots = slots
        self._tokens: dict[str, str] = {}

    def __call__(self, env: Environment, start_response: StartResponse) -> Iterable[bytes]:
        """Let in whoever logs in or has a session."""
        login = env.get("PATH_INFO", "") == _SESSIONS and env.get("REQUEST_METHOD") == "POST"
        if login or env.get("HTTP_X_AUTH_TOKEN") in self._tokens:
            return self.app(env, start_response)  # type: ignore[no-any-return]
        return super().__call__(env, start_response)  # type: ignore[no-any-return]

    def log_in(self) -> flask.Response:
        """Open a session, if there is a slot."""
        given = flask.request.get_json()
        try:
            auth_basic.authenticate(self._file, given["UserName"], given["Password"].encode())
        except error.FishyError as refused:
            raise error.Unauthorized(str(refused)) from refused
        if len(self._tokens) >= self._slots:
            raise error.FishyError("All sessions are in use", code=503)
        token, number = secrets.token_hex(16), secrets.token_hex(4)
        self._tokens[token] = number
        answer = flask.jsonify({"@odata.id": f"{_SESSIONS}/{number}", "Id": number})
        answer.status_code = 201
        answer.headers["X-Auth-Token"] = token
        answer.headers["Location"] = f"{_SESSIONS}/{number}"
        return answer

    def log_out(self, number: str) -> tuple[str, int]:
        """End a session."""
        self._tokens = {token: kept for token, kept in self._tokens.items() if kept != number}
        return "", 204

    def open(self) -> flask.Response:
        """List the open sessions."""
        members = [{"@odata.id": f"{_SESSIONS}/{number}"} for number in self._tokens.values()]
        return flask.jsonify({"Members": members, "Members@odata.count": len(members)})


def serve(config: BmcConfig) -> None:
    """Serve until SIGTERM; the machines end with their BMC."""
    machines = [Switched(Path(directory)) for directory in config.machines]
    driver = MachineDriver(machines)
    emulator.Application.systems = driver
    app = emulator.app
    app.config["SUSHY_EMULATOR_STATE_DIR"] = config.state
    sessions = Sessions(app.wsgi_app, config.htpasswd, config.login_slots)
    app.wsgi_app = sessions
    app.add_url_rule(_SESSIONS, "log_in", sessions.log_in, methods=["POST"])
    app.add_url_rule(_SESSIONS, "sessions", sessions.open, methods=["GET"])
    app.add_url_rule(f"{_SESSIONS}/<number>", "log_out", sessions.log_out, methods=["DELETE"])

    @app.after_request  # type: ignore[untyped-decorator]  # sushy-tools is not typed
    def true_duration(answer: flask.Response) -> flask.Response:
        # The emulator's template says "Continuous", whatever was asked of it.
        shows_system = flask.request.endpoint == "system_resource" and answer.is_json
        if shows_system and answer.status_code == HTTPStatus.OK:
            identity = str((flask.request.view_args or {})["identity"])
            body = answer.get_json()
            body["Boot"]["BootSourceOverrideEnabled"] = driver.enabled(identity)
            answer.set_data(json.dumps(body))
        return answer

    def stop(*_: object) -> None:
        raise SystemExit

    signal.signal(signal.SIGTERM, stop)
    try:
        # One request at a time, as a BMC does, which also keeps start and kill apart.
        with make_server(config.address, config.port, app, threaded=False) as server:
            Path(config.port_file).write_text(str(server.server_port))
            server.serve_forever()
    finally:
        for machine in machines:
            machine.kill()


if __name__ == "__main__":
    serve(BmcConfig.read(Path(sys.argv[1])))
