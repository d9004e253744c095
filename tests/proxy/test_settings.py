"""Settings come from arguments, the environment and a file, and say what is wrong with them."""

from pathlib import Path

import pytest

from proxy.settings import ProxySettings

FILE = """
foreman_url = "http://gateway.example.org:8080/"
trusted_hosts = ["Rackrise.example.org"]

[dhcp]
kind = "kea"
kea.control_socket = "/run/kea/kea.sock"

[[dns]]
address = "192.0.2.53"
key_name = "rackrise"
secret = "c2VjcmV0"
zones = ["example.org", "2.0.192.in-addr.arpa"]

[tftp]
root = "/srv/tftp"

[discovery]
networks = ["192.0.2.0/24"]

[listen]
http_port = 8000
"""


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "proxy.toml").write_text(FILE)
    settings = ProxySettings.from_toml(tmp_path / "proxy.toml")
    assert settings.foreman_url == "http://gateway.example.org:8080"
    assert settings.trusted_hosts == ("rackrise.example.org",)
    assert settings.dns[0].zones == ("example.org", "2.0.192.in-addr.arpa")
    assert "c2VjcmV0" not in repr(settings)


def test_the_environment_fills_in_what_a_file_leaves_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proxy.toml").write_text(FILE)
    monkeypatch.setenv("RACKRISE_PROXY_TEMPLATE_URL", "http://192.0.2.1:8000")
    monkeypatch.setenv("RACKRISE_PROXY_TFTP__SERVER_NAME", "192.0.2.1")
    settings = ProxySettings.from_toml(tmp_path / "proxy.toml")
    assert settings.template_url == "http://192.0.2.1:8000"
    assert settings.tftp is not None
    assert (settings.tftp.server_name, str(settings.tftp.root)) == ("192.0.2.1", "/srv/tftp")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foreman_url = ", "proxy.toml: "),
        ("", "foreman_url: Field required"),
        ('foreman_url = "gateway:80"', "give an http or https URL"),
        ('foreman_url = "http://g"\nport = 8', "port: Extra inputs"),
        ('foreman_url = "http://g"\n[dhcp]\nkind = "isc"', "needs dhcp.isc"),
        ('foreman_url = "http://g"\n[listen]\nhttps_port = 8443', "needs certificate, key and ca"),
        ('foreman_url = "http://g"\n[discovery]\nnetworks = ["x"]', "discovery.networks.0"),
    ],
)
def test_a_bad_file_is_told_with_name_and_reason(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"proxy\.toml") as caught:
        ProxySettings.from_toml(file)
    assert said in str(caught.value)
