"""What the API's document says of rights is what the API demands."""

from __future__ import annotations

from typing import Any

from docs.generate.http import operators_document
from gateway.settings import GatewaySettings
from inventory.models import Role
from inventory.rule_draft import RuleDraft
from tests.gateway.operators.conftest import Office
from tests.inventory.world import discovered

KEY = "k" * 40
RULE = RuleDraft(name="r", condition="true", host_group="web", host_name="web1").model_dump(
    mode="json"
)
BODIES: dict[str, Any] = {
    "provision_host": {"host_group": "web"},
    "rebuild_host": {},
    "cancel_host": {},
    "retry_hosts": {"hosts": ["NAME"]},
    "ask_plan": {"host_group": "web"},
    "add_rule": RULE,
    "change_rule": RULE,
    "try_rule": {"draft": RULE},
    "start_wave": {"name": "spring", "host_group": "web", "hosts": ["web1.example.org"]},
    "add_person": {"name": "eve", "role": "viewer", "password": "correct horse battery"},
    "change_person": {"role": "viewer"},
    "add_webhook": {"name": "pager", "url": "https://203.0.113.9/"},
    "redeliver": {"deliveries": [1]},
    "change_webhook": {"enabled": False},
}
"""Whoever has the right gets further with them than to 403 and 422."""


NAMES = {"rules": "r", "waves": "spring", "webhooks": "pager", "people": "a-viewer"}
"""Of what was made by then; the others are the host's."""


async def test_each_operation_takes_the_role_that_the_document_names(office: Office) -> None:
    office.settings = GatewaySettings(database_url=office.database.url, secret_key=KEY)
    host, _ = await discovered(office.database.sessions)
    clients = {role: await office.api(f"a-{role}", role) for role in Role}
    order = list(Role)
    wrong, least = [], set()
    for path, item in operators_document()["paths"].items():
        for method, operation in item.items():
            role, name = Role(operation["x-role"]), operation["operationId"]
            least.add(role)
            if name in ("add_token", "remove_token"):
                continue  # everybody's own
            kind = path.split("/")[3]
            thing = NAMES.get(kind)
            url = path.replace("{name}", thing or host.name).replace("{number}", "1")
            body = BODIES.get(name)
            assert ("requestBody" in operation) == (body is not None), name
            for asks in order[: order.index(role) + 1]:
                answer = await clients[asks].request(method, url, json=body)
                if (answer.status_code == 403) != (asks is not role):
                    wrong.append((name, asks, answer.status_code, answer.text[:100]))
                if asks is role and answer.status_code == 422:
                    wrong.append((name, asks, answer.status_code, answer.text[:100]))
    assert wrong == []
    assert least == set(Role)


WITHOUT_A_KEY = {
    "add_person": "what is sent holds a password, of which no fast hash is kept",
    "add_token": "the answer holds a secret",
    "add_webhook": "the answer holds a secret",
    "try_rule": "touches nothing",
}
"""The POSTs that take no Idempotency-Key, and why."""


def test_every_post_takes_a_key_or_is_known_to_take_none() -> None:
    without = set()
    for item in operators_document()["paths"].values():
        if "post" in item:
            named = {one["name"] for one in item["post"].get("parameters", [])}
            if "Idempotency-Key" not in named:
                without.add(item["post"]["operationId"])
    assert without == set(WITHOUT_A_KEY)


async def test_what_takes_no_key_makes_nothing_twice(office: Office) -> None:
    office.settings = GatewaySettings(database_url=office.database.url, secret_key=KEY)
    api = await office.api("ada", Role.ADMIN)
    for path, body in (
        ("people", BODIES["add_person"]),
        ("tokens", {"name": "nightly", "role": "viewer"}),
        ("webhooks", BODIES["add_webhook"]),
    ):
        sent = [await api.post(f"/api/v1/{path}", json=body) for _ in range(2)]
        assert [one.status_code // 100 for one in sent] == [2, 4], (path, sent[1].text)
        assert len((await api.get(f"/api/v1/{path}")).json()) == (1 if path == "webhooks" else 2)
