"""What an attacker of console and API knows who has read our source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["BODIES", "FIELDS", "NAMES", "QUERY", "RULE", "VALUES"]

RULE = {"name": "r", "condition": "true", "host_group": "web", "host_name": "web{{ number }}"}
_HOSTS = ("mac525400000001", "mac525400000002", "mac525400000003")
_NUMBERS = ("1", "34", "0", "-1", "35", str(2**31), str(10**30))

VALUES: Mapping[str, Sequence[str]] = {
    "name": (*_HOSTS, "r", "pager", "spring", "viewer", "test"),
    "number": _NUMBERS,
    "host": _NUMBERS,
}
"""Of path parameters."""
NAMES: Mapping[str, Sequence[str]] = {
    "hosts": _HOSTS,
    "rules": ("r", "other"),
    "waves": ("spring", "new"),
    "webhooks": ("pager",),
    "people": ("viewer", "limited", "admin"),
    "tokens": ("test",),
}
"""By the first part of the path."""
QUERY: Mapping[str, Sequence[str]] = {
    "text": ("mac", "52:54", "%", "_"),
    "state": ("discovered", "held", "nowhere"),
    "host_group": ("web",),
    "site": ("lab", "elsewhere"),
    "subnet": ("lan",),
    "held_at": _NUMBERS,
    "in_trouble": ("true", "maybe"),
    "trouble": ("true", "maybe"),
    "after": ("mac525400000001", *_NUMBERS),
    "before": _NUMBERS,
    "limit": _NUMBERS,
    "page": _NUMBERS,
    "generation": _NUMBERS,
    "about": ("host mac525400000001",),
    "who": ("viewer",),
    "kind": ("host.held",),
    "to": ("/held", "//example.org/", "https://example.org/"),
    "host": ("1", "2", *_NUMBERS),
    "deliveries_of": ("pager",),
}
FIELDS: Mapping[str, Sequence[str]] = {
    "name": ("web1", "r", "pager", "viewer"),
    "host": ("1", *_HOSTS),
    "host_group": ("web",),
    "why": ("wrong rack",),
    "typed": _HOSTS,
    "role": ("viewer", "operator", "admin"),
    "password": ("correct horse battery",),
    "old": ("wrong horse battery",),
    "new": ("another horse battery",),
    "days": _NUMBERS,
    "disabled": ("true",),
    "enabled": ("true",),
    "sites": ("lab",),
    "host_groups": ("web",),
    "kinds": ("host.held",),
    "url": ("https://example.org/hook", "http://169.254.169.254/"),
    "delivery": _NUMBERS,
    "priority": _NUMBERS,
    "condition": ("true", "memory > 1 GiB"),
    "host_name": ("web{{ number }}",),
    "host_limit": _NUMBERS,
    "provision": ("at_once", "in_window"),
    "windows": ("mon-fri 22:00-05:00",),
    "time_zone": ("UTC", "Europe/Berlin"),
    "do": ("try", "save", "remove", "choose", "find", "start", "pause", "go_on", "cancel"),
    "hosts": ("\n".join(_HOSTS),),
    "canary": ("1", *_NUMBERS),
    "growth": ("2", "nan", "inf", *_NUMBERS),
    "failures": ("10", "nan", *_NUMBERS),
    "largest": ("0", *_NUMBERS),
    "per_subnet": ("0", *_NUMBERS),
    "per_boot_server": ("0", *_NUMBERS),
    "per_pulp": ("0", *_NUMBERS),
    "rebuild": ("true",),
    "find_text": ("mac", "%"),
    "find_state": ("discovered", "nowhere"),
    "to": ("/held", "//example.org/"),
}
"""Of all forms."""
BODIES: Mapping[str, Any] = {
    "POST /hosts/{name}/provision": {"host_group": "web", "name": "web1"},
    "POST /hosts/{name}/rebuild": {"host_group": "web"},
    "POST /hosts/{name}/cancel": {"why": "wrong rack"},
    "POST /hosts/{name}/plan": {"host_group": "web"},
    "POST /retry": {"hosts": ["mac525400000003"]},
    "POST /rules": {**RULE, "name": "other"},
    "POST /rules/try": {"draft": RULE, "most": 10},
    "PUT /rules/{name}": RULE,
    "POST /waves": {"name": "spring", "host_group": "web", "hosts": list(_HOSTS)},
    "POST /people": {"name": "eve", "role": "admin", "password": "correct horse battery"},
    "PATCH /people/{name}": {"role": "admin", "sites": [], "host_groups": [], "disabled": False},
    "POST /tokens": {"name": "another", "role": "admin", "days": 1},
    "POST /webhooks": {"name": "other", "url": "https://example.org/other", "kinds": []},
    "PATCH /webhooks/{name}": {"enabled": False},
    "POST /webhooks/{name}/redeliver": {"deliveries": [1]},
}
