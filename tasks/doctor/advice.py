"""What a person can do about a failure: the branch of the error tree, the system and its words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from integrations.errors import (
    Busy,
    Conflict,
    Exhausted,
    OutsideError,
    Refused,
    Unavailable,
    Unsupported,
    Unverified,
)
from tasks.company import Problem

__all__ = ["advice_for"]


@dataclass(frozen=True)
class _Rule:
    """The first rule that matches gives the advice; what is empty matches all."""

    advice: str
    words: str = ""
    """Regular expression over the whole sentence of the error."""
    system: str = ""
    kind: type[BaseException] = BaseException

    def matches(self, error: BaseException, system: str) -> bool:
        return (
            isinstance(error, self.kind)
            and self.system in ("", system)
            and re.search(self.words, str(error), re.IGNORECASE) is not None
        )


_RULES = (
    _Rule(
        "Compare the clocks of the two machines (chronyc tracking), and let NTP set the wrong one.",
        r"not yet valid|BadTime|clock skew|timestamp",
    ),
    _Rule(
        "Renew the certificate; if it has not expired really, a clock is wrong: see NTP.",
        r"certificate has expired|certificate expired",
    ),
    _Rule(
        "Give the CA that signed its certificate: the setting ca, RACKRISE_PROXY_CA for proxies, "
        "or the credentials block; and reach it under a name that is in the certificate.",
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|hostname mismatch",
    ),
    _Rule(
        "Have its CA sign a certificate for us and name that: RACKRISE_PROXY_CERTIFICATE for "
        "proxies, `rackrise puppet credentials` for Puppet.",
        r"does not accept our certificate|alert.*certificate|No client SSL certificate",
    ),
    _Rule(
        "Add this worker to trusted_hosts in the proxy's settings, or give it a certificate whose "
        "name stands there.",
        r"Untrusted client|not in trusted|403.*trusted",
    ),
    _Rule(
        "The name cannot be resolved on the worker: correct it in the site file, or the worker's "
        "/etc/resolv.conf.",
        r"Name or service not known|name resolution|nodename nor servname",
    ),
    _Rule(
        "Name the proxy's settings to this worker with RACKRISE_PROXY_FILE, or give the proxy a "
        "url of its own in the site file.",
        r"has no settings",
    ),
    _Rule(
        "Compare the key's name, algorithm and secret in the proxy's file ([[dns]] key_name, "
        "algorithm, secret) with those of the name server (`tsig-keygen KEY` prints them), and "
        "the clocks of both machines.",
        r"TSIG|BADKEY|BADSIG|PeerBadKey|PeerBadSignature",
        "DNS",
    ),
    _Rule(
        "Add the zone to `zones` of [[dns]] in the proxy's file: the forward zone, and the reverse "
        "zone of each subnet.",
        r"lies in none of",
        "DNS",
    ),
    _Rule(
        "Let the key change the zone. BIND: `update-policy { grant KEY zonesub ANY; };` in the "
        "zone; with allow-update instead, name the key there. See also that the server can write "
        "the zone's journal.",
        r"REFUSED|refuses this to this key",
        "DNS",
    ),
    _Rule(
        "Name only servers that are authoritative for the zone in name_servers of the domain in "
        "the site file; or serve the zone there, forward and reverse.",
        r"not authoritative|NOTAUTH|NOTZONE|no name server",
        "DNS",
    ),
    _Rule(
        "See the name server's log: it fails by itself (zone not loaded, journal not writable).",
        r"SERVFAIL",
        "DNS",
    ),
    _Rule(
        "A secondary does not follow: allow it the transfer, and have the primary notify it.",
        r"do not agree",
        "DNS",
    ),
    _Rule(
        "Load Kea's hook lease_cmds: add libdhcp_lease_cmds.so to hooks-libraries, and restart it.",
        r"lease_cmds|lease4-get|'?lease4[\w-]*'? command not supported",
        "DHCP",
    ),
    _Rule(
        "Declare the subnet in the DHCP server's configuration, or correct `network` in the site "
        "file; both must be the same network with the same prefix.",
        r"could not found|No Subnet detected|serves no|does not serve",
        "DHCP",
    ),
    _Rule(
        "Part the two ranges: change the dynamic range in the DHCP server's configuration, or "
        "range_from and range_to of the subnet in the site file.",
        r"reaches into it",
        "DHCP",
    ),
    _Rule(
        "Compare omapi-key in dhcpd.conf with key_name, secret and algorithm in the proxy's file.",
        r"omapi.*(key|auth|sign)|(key|auth|signature).*omapi",
        "DHCP",
    ),
    _Rule(
        "Widen range_from and range_to of the subnet in the site file, or retire hosts.",
        r"",
        "DHCP",
        Exhausted,
    ),
    _Rule(
        "The directory that the TFTP server serves must be writable for the proxy's user: see its "
        "owner, its mode, and whether it is mounted read-only.",
        r"Permission denied|Read-only file system|not permitted|that can be written to",
        "TFTP",
    ),
    _Rule("Make room on the boot server's disk.", r"No space left|quota", "TFTP"),
    _Rule(
        "Copy it into the directory that the TFTP server serves, readable for everybody; see "
        "README, TFTP.",
        r"is not there",
        "TFTP",
        Refused,
    ),
    _Rule(
        "The proxy writes where this TFTP server does not read: compare [tftp] root in the proxy's "
        "file with the server's directory, and boot_server in the site file with its address.",
        r"",
        "TFTP",
        Unverified,
    ),
    _Rule(
        "The TFTP server may not read the file: see the rights of its directory, and whether it "
        "is the one that the proxy writes.",
        r"access",
        "TFTP",
        Refused,
    ),
    _Rule(
        "See the proxy's log for the reason; enable the feature in its settings for the listener "
        "that the site file names.",
        r"is not served|is disabled|Requested url was not found",
    ),
    _Rule(
        "Correct base_path in the site file; for a tree with `remote` run `rackrise content sync` "
        "first. Where it is there, give our user the role rpm.viewer.",
        r"Pulp says the same|it is not there, or|serves no publication|no tree",
        "Pulp",
    ),
    _Rule(
        "Give our user the roles that are named: rpm.viewer to read, rpm.admin to synchronise.",
        r"lacks the role",
        "Pulp",
    ),
    _Rule("Correct them: `rackrise content credentials`.", r"40[13]|asked as", "Pulp", Refused),
    _Rule(
        "Sign our certificate with `puppetserver ca generate --ca-client --certname NAME`, or name "
        "it in auth.conf of the Puppet server; keep it with `rackrise puppet credentials`.",
        r"pp_cli_auth|HTTP 403",
        "Puppet",
    ),
    _Rule(
        "Switch OAuth on in candlepin.conf (candlepin.auth.oauth.enable=true, "
        "candlepin.auth.oauth.consumer.KEY.secret) and keep the same key and secret with "
        "`rackrise candlepin credentials`; the clocks must agree.",
        r"40[13]",
        "Candlepin",
        Refused,
    ),
    _Rule(
        "It is suspended: see its log for the reason (its message bus, as a rule).",
        r"its mode is",
        "Candlepin",
    ),
    _Rule(
        "Correct the URL or base path of the tree in the site file: there must be a .treeinfo "
        "with checksums for the architecture, and the kernel and initrd that it names.",
        r"",
        "tree",
        Refused,
    ),
    _Rule(
        "Correct user and password: `rackrise bmc credentials`; the account needs the right to "
        "switch the machine.",
        r"user|password|auth|40[13]|privilege",
        "power",
        Refused,
    ),
    _Rule("Correct the BMC's settings in the site file.", r"", "power", Refused),
)

_DOWN = {
    "DHCP": "See that the DHCP server runs (systemctl status kea-dhcp4-server or isc-dhcp-server) "
    "and that the proxy reaches its control socket, control agent or OMAPI port.",
    "DNS": "See that the name server runs and answers on port 53, UDP and TCP, to the proxy and to "
    "workers; and its address in name_servers and in the proxy's file.",
    "TFTP": "See that the TFTP server runs at boot_server of the subnet, and that no firewall is "
    "between it and the worker (UDP 69, and the ports that it answers from).",
    "proxy": "See that the proxy runs (`rackrise proxy proxy.toml`), and its url in the site file.",
    "Pulp": "See that Pulp runs (pulpcore-api, and workers), and its url in the site file.",
    "Puppet": "See that puppetserver runs and listens on 8140, and its url in the site file.",
    "Candlepin": "See that Candlepin runs (tomcat), and its url with /candlepin in the site file.",
    "tree": "See that the web server of the tree runs and that workers and proxies reach it.",
    "power": "See that the BMC has power and network, and its address in the site file.",
    "gateway": "Start it with `rackrise gateway`, and see gateway_url in the site file: hosts call "
    "the gateway there.",
}


_BEHIND = re.compile("No response from|the feature is", re.IGNORECASE)


def _is_behind(error: OutsideError) -> bool:
    """Whether the proxy itself answers, and speaks of what is behind it."""
    return _BEHIND.search(error.said) is not None


def advice_for(error: BaseException, system: str) -> str:
    """What to do about an error that a check of a system has met.

    Args:
        error: what was raised.
        system: of the check; the error may name another one, such as the proxy before it.
    """
    if isinstance(error, Problem):
        return error.advice
    for rule in _RULES:
        if rule.matches(error, system):
            return rule.advice
    match error:
        case Conflict():
            return f"Somebody else's record is in the probe's place ({error.owner}): see whose."
        case Busy():
            return "It is overloaded or starting: try again in a minute."
        case Unavailable(system="Smart Proxy") if not _is_behind(error):
            return _DOWN["proxy"]
        case Unavailable() | TimeoutError():
            return _DOWN.get(system, "See that it runs and can be reached from the worker.")
        case Unsupported():
            return "It does not know this call: see its version and its enabled features."
        case Unverified():
            return "It says yes and does otherwise: see its log, and what lies between (a cache?)."
        case Refused():
            return "See its words, and correct credentials or input in the site file."
    return "This is a fault of Rackrise itself: report it, with the log of the run."
