"""What an attacker of the gateway knows: what each endpoint takes, and what is malformed there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from inventory.builds import certificate_token
from inventory.life import HostState
from tests.gateway.conftest import request_of, token
from tests.hostile.making import Break, Draft, Maker
from tests.hostile.target import Knowledge

__all__ = [
    "BODY_IS_FREE",
    "FRONT",
    "HOSTS",
    "KEY",
    "MAIN",
    "OWNER",
    "PUPPET",
    "VALUES",
    "name_of",
    "no_token",
]

HOSTS = {
    1: HostState.INSTALLING,
    2: HostState.PREPARING,
    3: HostState.IN_OPERATION,
    4: HostState.REBOOTING,
    5: HostState.DISCOVERED,
}
"""By number, with their states."""
OWNER, KEY = "ACME", "web"
BODY_IS_FREE = ("/unattended/built", "/unattended/failed")
"""Where all that a host in its installer says is meant to be taken."""
_JSON = "application/json"


def name_of(number: int) -> str:
    """The host with a number."""
    return f"web{number}.example.org"


def no_token(text: str) -> bool:
    """Whether a text holds none of the hosts' tokens."""
    return "token-of-host" not in text


def _body(wrong: Any = None) -> Break:
    """Another body than the endpoint knows."""

    def apply(draft: Draft, maker: Maker) -> None:
        while True:
            draft.body = maker.garbage()
            if wrong is None or wrong(draft.body):
                return

    return apply


def _told(wrong: Any) -> Break:
    """JSON that is something else; ``wrong`` makes the test of it."""

    def is_wrong(body: bytes) -> bool:
        try:
            return bool(wrong(json.loads(body)))
        except (ValueError, RecursionError):
            return True

    return _body(is_wrong)


def _field(valid: Mapping[str, Any], name: str, *values: Any) -> Break:
    """A valid document with one wrong value."""

    def apply(draft: Draft, maker: Maker) -> None:
        body = dict(valid)
        body[name] = maker.random.choice(values)
        draft.kind, draft.body = _JSON, json.dumps(body).encode()

    return apply


def _query(**values: Sequence[str]) -> Break:
    def apply(draft: Draft, maker: Maker) -> None:
        draft.query += [(name, maker.random.choice(some)) for name, some in values.items()]

    return apply


def _two_tokens(draft: Draft, maker: Maker) -> None:
    draft.query += [("token", token(1)), ("token", maker.text(lambda text: text != token(1)))]


def _path(name: str, *valid: str) -> Break:
    """A path that names nothing of ours."""

    def apply(draft: Draft, maker: Maker) -> None:
        draft.params[name] = maker.text(lambda text: text.strip().rstrip(".").lower() not in valid)

    return apply


def _cut(draft: Draft, maker: Maker) -> None:
    draft.cut = True


def _no_object(value: Any) -> bool:
    return not isinstance(value, dict)


_FACTS = {
    "discovery_bootif": "52:54:00:00:00:05",
    "interfaces": "eth0,lo",
    "macaddress_eth0": "52:54:00:00:00:05",
    "ipaddress_eth0": "192.0.2.105",
}
_NO_MAC: Sequence[Any] = (
    "",
    None,
    7,
    [],
    {},
    "zz",
    "52:54",
    "\0",
    "52:54:00:00:00:0g",
    "5" * 9000,
    "\ud800",
)


def _broken_facts(draft: Draft, maker: Maker) -> None:
    """Facts of nobody: the image's own are meant to be taken."""
    facts: dict[str, Any] = dict(_FACTS)
    match maker.random.randrange(4):
        case 0:
            facts["discovery_bootif"] = maker.random.choice(_NO_MAC)
        case 1:
            facts["macaddress_eth0"] = maker.random.choice(_NO_MAC)
        case 2:
            facts["ipaddress_eth0"] = maker.random.choice(("", None, 5, "fe80::1", "::", "x", "\0"))
        case _:
            facts["interfaces"] = maker.random.choice(("", "lo", 7, {}, ["lo"], "\0", "eth1"))
    facts[maker.text()] = maker.text()
    draft.body = json.dumps({"facts": facts}).encode()


_PROGRESS = {"stage": "packages installed", "detail": "300 of 300"}
_REPORT = {"hostname": name_of(1), "addresses": ["192.0.2.101"], "root_device": "/dev/sda1"}
_CSR = request_of(secret="x")
_OWN_CSR = request_of(secret=certificate_token(token(1)))
_PUPPET_FACTS = {"name": name_of(1), "values": {"os": {"name": "labos"}}, "timestamp": "2026-01-02"}
_FOREMAN_FACTS = {"name": name_of(1), "certname": name_of(1), "facts": {"os": {"name": "labos"}}}
_FOREMAN_REPORT = {"config_report": {"host": name_of(1), "reported_at": "2026-01-02 03:04:05 UTC"}}
_PUPPET_REPORT = (
    b"--- !ruby/object:Puppet::Transaction::Report\nhost: web1.example.org\n"
    b"time: '2026-01-02T03:04:05.123456789+00:00'\nstatus: changed\nmetrics: {}\nlogs: []\n"
    b"resource_statuses: {}\n"
)


def _json(value: Any) -> tuple[str, bytes]:
    return _JSON, json.dumps(value).encode()


_ANONYMOUS = Knowledge(
    bodies=[_json({"facts": _FACTS})],
    breaks=[_broken_facts, _told(lambda told: "discovery_bootif" not in str(told)), _cut],
    anonymous=[_broken_facts, _told(lambda told: "discovery_bootif" not in str(told)), _cut],
)
PUPPET = {
    "/puppet/autosign/{name}": Knowledge(
        # A host's request that is refused is its step's failure, which somebody must see.
        bodies=[(None, _CSR), (None, _OWN_CSR)],
        breaks=[_body(), _cut],
        refusals_kept=True,
    ),
    "/puppet/enc/{name}": Knowledge(breaks=[_path("name", *(name_of(one) for one in HOSTS))]),
    "/node/{name}": Knowledge(
        breaks=[
            _path("name", *(name_of(one) for one in HOSTS)),
            _query(format=["json", "", "\0", "YML", "../yml"]),
        ],
        query={"format": ["yml"]},
    ),
    "/puppet/facts/{name}": Knowledge(
        bodies=[_json(_PUPPET_FACTS)],
        breaks=[
            _body(),
            _cut,
            _field(_PUPPET_FACTS, "values", None, 7, "x", []),
            _field(_PUPPET_FACTS, "name", None, 7, "", "no.example.org", "\0"),
        ],
    ),
    "/api/hosts/facts": Knowledge(
        bodies=[_json(_FOREMAN_FACTS)],
        breaks=[_body(), _cut, _field(_FOREMAN_FACTS, "facts", None, 7, "x", [])],
    ),
    "/puppet/reports": Knowledge(
        bodies=[("application/yaml", _PUPPET_REPORT), _json(_FOREMAN_REPORT)],
        breaks=[_body(), _cut],
    ),
    "/api/config_reports": Knowledge(
        bodies=[_json(_FOREMAN_REPORT), ("application/yaml", _PUPPET_REPORT)],
        breaks=[_body(), _cut],
    ),
}
MAIN: dict[str, Knowledge] = {
    **dict.fromkeys(
        ("/api/v2/discovered_hosts/facts", "/api/discovered_hosts/facts", "/discovery/create"),
        _ANONYMOUS,
    ),
    "/unattended/provision": Knowledge(
        breaks=[_two_tokens, _query(mac=["52:54:00:00:00:99", "zz", "\0", "\ud800", "5" * 999])],
        query={"mac": ["52:54:00:00:00:01"]},
    ),
    **dict.fromkeys(
        ("/unattended/iPXE", "/unattended/gPXE"), Knowledge(query={"mac": ["52:54:00:00:00:01"]})
    ),
    "/unattended/progress": Knowledge(
        bodies=[_json(_PROGRESS)],
        breaks=[
            _told(lambda told: not isinstance(told, dict) or "stage" not in told),
            _field(_PROGRESS, "stage", None, 7, "", [], {}, "x" * 101),
            _field(_PROGRESS, "detail", None, 7, [], {}, "x" * 2001),
            _two_tokens,
            _cut,
        ],
    ),
    "/unattended/report": Knowledge(
        bodies=[_json(_REPORT)],
        breaks=[
            _told(lambda told: not isinstance(told, dict) or "hostname" not in told),
            _field(_REPORT, "hostname", None, 7, "", [], {}, "x" * 254),
            _field(_REPORT, "addresses", None, "192.0.2.1", ["x"], [None], {"a": 1}, ["::%\0"]),
            _field(_REPORT, "uptime_seconds", -1, 1e999, float("nan"), "x", None, 10**400),
            _field(_REPORT, "repositories", None, [7], [{"id": ""}], [{}] * 201),
            _two_tokens,
            _cut,
        ],
    ),
    # Nothing is malformed for them but the request itself: any body is a telling.
    "/unattended/built": Knowledge(bodies=[(None, b"done")]),
    "/unattended/failed": Knowledge(bodies=[("text/plain", b"anaconda gave up\n" * 50)]),
    **PUPPET,
}
_CONSUMER = {"name": name_of(1), "facts": {"cpu": 2}, "type": "system", "installedProducts": []}
_PROFILE = [
    {"content_type": "rpm", "profile": [{"name": "bash", "version": "5"}]},
    {"content_type": "enabled_repos", "profile": [{"repositoryid": "r", "baseurl": ["http://x"]}]},
]
_OTHERS = _path("uuid", "own")
_LIST = _told(lambda told: not isinstance(told, list | dict))
FRONT: dict[str, Knowledge] = {
    "/rhsm/consumers": Knowledge(
        bodies=[_json(_CONSUMER)],
        breaks=[
            _told(_no_object),
            _field(_CONSUMER, "name", None, 7, "", "-x", "a b", "\0", "x" * 300, "\ud800", "wéb"),
            _field(_CONSUMER, "facts", 7, "x", [], [[]]),
            _query(owner=[OWNER, "\0", "ö"], activation_keys=["", ",", "\0", "a b", "x" * 999]),
            _cut,
        ],
    ),
    "PUT /rhsm/consumers/{uuid}": Knowledge(
        bodies=[_json({"facts": {"a": "b"}})],
        breaks=[
            _OTHERS,
            _told(_no_object),
            _field({}, "owner", {"key": "x"}, 7, "\0"),
            _field({}, "environments", [], [7], "x"),
            _field({}, "name", "no.example.org", 7, [], "\0", "\ud800"),
            _cut,
        ],
    ),
    "DELETE /rhsm/consumers/{uuid}": Knowledge(breaks=[_OTHERS]),
    "/rhsm/consumers/{uuid}/certificates/serials": Knowledge(breaks=[_OTHERS]),
    "/rhsm/consumers/{uuid}/checkin": Knowledge(breaks=[_OTHERS]),
    "/rhsm/consumers/{uuid}/profiles": Knowledge(
        bodies=[_json(_PROFILE)], breaks=[_OTHERS, _LIST, _cut]
    ),
    "/rhsm/consumers/{uuid}/packages": Knowledge(
        bodies=[_json(_PROFILE[0]["profile"])], breaks=[_OTHERS, _LIST, _cut]
    ),
    "/rhsm/consumers/{uuid}/profile": Knowledge(
        bodies=[_json(_PROFILE[0]["profile"])], breaks=[_OTHERS, _LIST, _cut]
    ),
    "/rhsm/systems/{uuid}/enabled_repos": Knowledge(
        bodies=[_json({"enabled_repos": {"repos": _PROFILE[1]["profile"]}})],
        breaks=[_OTHERS, _told(lambda told: _no_object(told) or not told), _cut],
    ),
    "/rhsm/consumers/{uuid}/tracer": Knowledge(
        bodies=[_json({"traces": {"bash": {"type": "daemon"}}})],
        breaks=[_OTHERS, _told(lambda told: _no_object(told) or "traces" not in told), _cut],
    ),
    "/rhsm/{rest}": Knowledge(bodies=[_json({"a": 1})], breaks=[_path("rest")]),
}
VALUES: dict[str, Sequence[str]] = {
    "name": [*(name_of(one) for one in HOSTS), "nobody.example.org"],
    "kind": ["script", "finish", "user_data"],
    "uuid": ["own", "own", "own", "7f1c1b9e-0000-4000-8000-000000000000"],
    "rest": [
        *(
            "owners/ACME",
            "consumers/own",
            "consumers/own/certificates",
            "consumers/x/entitlements",
            "pools",
        ),
        *("status/x", "jobs/1", "environments/prod", "deleted_consumers", "admin/init"),
    ],
}
