"""What the proxy says of itself is asked of what is behind it."""

import json
from pathlib import Path

from integrations.smart_proxy import SmartProxy, SmartProxySettings
from proxy.app import create_app, in_process
from proxy.settings import ProxySettings
from tests.proxy.site import GATEWAY, site


async def test_a_provider_that_does_not_answer_is_failed_with_its_reason(tmp_path: Path) -> None:
    at = site(tmp_path)
    at.dhcp.down = True
    async with at.trusted() as http:
        listed = (await http.get("/v2/features")).json()
        running = (await http.get("/features")).json()
        logs = (await http.get("/logs")).json()
    assert listed["dhcp"]["state"] == "failed"
    assert "refused" in listed["dhcp"]["reason"]
    assert listed["dhcp"]["capabilities"] == []
    assert "dhcp" not in running
    assert "refused" in logs["info"]["failed_modules"]["dhcp"]


async def test_it_is_asked_again_after_a_while(tmp_path: Path) -> None:
    at = site(tmp_path)
    at.dhcp.down = True
    async with at.trusted() as http:
        assert "dhcp" not in (await http.get("/features")).json()
        at.dhcp.down = False
        assert "dhcp" not in (await http.get("/features")).json()
        at.clock[0] += 11
        assert "dhcp" in (await http.get("/features")).json()


async def test_a_boot_root_that_is_gone_is_failed(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    at = site(tmp_path / "root")
    (tmp_path / "root").rmdir()
    async with at.trusted() as http:
        listed = (await http.get("/v2/features")).json()
    assert {listed[name]["state"] for name in ("tftp", "httpboot")} == {"failed"}


async def test_what_a_site_has_not_is_disabled_and_not_served() -> None:
    app = create_app(ProxySettings(foreman_url=GATEWAY))
    settings = SmartProxySettings(url="http://proxy")
    async with SmartProxy(settings, transport=in_process(app)) as proxy:
        states = {feature.name: feature.state for feature in await proxy.features()}
    assert states["dhcp"] == states["dns"] == states["tftp"] == states["puppetca"] == "disabled"
    assert states["templates"] == states["logs"] == "running"


async def test_the_log_holds_no_token(tmp_path: Path) -> None:
    at = site(tmp_path)
    async with at.trusted() as http:
        await http.get("/unattended/provision?token=secret-token")
        logs = (await http.get("/logs")).json()
        later = (await http.get("/logs", params={"from_timestamp": "1900000000"})).json()
    assert "secret-token" not in json.dumps(logs)
    assert logs["logs"][0]["message"] == "Started GET /unattended/provision"
    assert later["logs"] == []
