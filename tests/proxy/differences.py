"""Every place where our proxy answers otherwise than upstream, and why: the one table of them.

Keys are a recorded exchange: the number of a sample, or ``t`` and the place in the transcript.
A value is the status that ours answers, the beginning of its text (None: not looked at), and why.
"""

from dataclasses import dataclass

__all__ = ["DIFFERENCES", "NOT_REPLAYED", "Difference"]


@dataclass(frozen=True)
class Difference:
    """What ours answers instead."""

    status: int
    text: str | None
    why: str


_IDENTICAL = "an identical reservation is there already, whatever options a server adds to it"
_STABLE = "the address stays with its MAC address while it is held"
_SILENT_DNS = "upstream says 200 and writes nothing"
_NO_ALIAS = "aliases are not written by Rackrise: told, not pretended"
_CASE = "upper and lower case are one MAC address, which has one reservation"
_FAULT = "faults of a controller's answer are no 200"
_ONCE = "a boot override holds for one boot"
_HOST_TEXT = "the gateway's own words are passed on: an iPXE client reads only scripts"
_RUBY = "Ruby's error texts are not imitated"
_PATH = "where the files lie is not told"
_OURS = "names what this proxy has"
_UNKNOWN_FIELD = "a field that no DHCP server here keeps is no part of the record"

DIFFERENCES: dict[str, Difference] = {
    "01": Difference(200, '["bmc","dhcp","discovery","dns","httpboot","logs"', _OURS),
    "02": Difference(200, "{", _OURS),
    "03": Difference(200, '{"version":"3.11.0-rackrise"', _OURS),
    "18": Difference(404, "TFTP: Failed to retrieve pxe config file: File ", _PATH),
    "20": Difference(200, '{"ip":"10.77.1.', "which free address is each proxy's own choice"),
    "21": Difference(200, '{"ip":"10.77.1.', "which free address is each proxy's own choice"),
    "23": Difference(200, "", _IDENTICAL),
    "40": Difference(501, "CNAME records are not written", _NO_ALIAS),
    "43": Difference(400, "Update errors: h1.other.example lies in none", _SILENT_DNS),
    "47": Difference(501, "CNAME records are not written", _NO_ALIAS),
    "58": Difference(200, '{"installed_providers":[', _OURS),
    "63": Difference(400, "ssh is not usable", "a provider that cannot work says so"),
    "71": Difference(500, "Failed to open TCP connection to 127.0.0.1:8443 (", _RUBY),
    "72": Difference(500, "Failed to open TCP connection to 127.0.0.1:8443 (", _RUBY),
    "73": Difference(200, '{"info":{"size":2000,', "a log is its own"),
    "81": Difference(200, '{"ip":"10.77.2.', _STABLE),
    "82": Difference(200, '{"ip":"10.77.2.', _STABLE),
    "83": Difference(200, '{"ip":"10.77.2.', _STABLE),
    "87": Difference(200, "", _IDENTICAL),
    "92": Difference(400, "Update errors: No response from DNS server", _SILENT_DNS),
    "93": Difference(400, "Update errors: No response from DNS server", _SILENT_DNS),
    "95": Difference(400, "No response from DHCP server", "nothing is answered from memory"),
    "t0": Difference(200, '["bmc","dhcp","discovery"', _OURS),
    "t1": Difference(200, '["bmc","dhcp","discovery"', _OURS),
    "t2": Difference(200, '{"version":"3.11.0-rackrise"', _OURS),
    "t5": Difference(200, '["bmc","dhcp","discovery"', _OURS),
    "t12": Difference(200, '{"ip":"192.0.2.', "which free address is each proxy's own choice"),
    "t13": Difference(200, '{"ip":"192.0.2.10', "which free address is each proxy's own choice"),
    "t15": Difference(200, '{"ip":"192.0.2.10', _STABLE),
    "t23": Difference(409, "Record 192.0.2.0/192.0.2.51 already exists", _CASE),
    "t24": Difference(
        409,
        "Record 192.0.2.0/192.0.2.50 already exists",
        "members of a bond do not share an address: Kea refuses that, too",
    ),
    "t29": Difference(
        400, "IP Address 10.9.9.9 does not belong", "upstream takes addresses of other subnets"
    ),
    "t30": Difference(200, '{"name":"h1.test.lan","ip":"192.0.2.50"', "follows from t23"),
    "t32": Difference(200, '[{"name":"h1.test.lan","ip":"192.0.2.50"', "follows from t23, t24"),
    "t34": Difference(200, '{"ip":"192.0.2.50"}', "follows from t23"),
    "t35": Difference(200, '{"reservations":[{"name":"h1.test.lan"', "follows from t23, t24, t29"),
    "t48": Difference(501, "CNAME records are not written", _NO_ALIAS),
    "t49": Difference(501, "CNAME records are not written", _NO_ALIAS),
    "t50": Difference(200, "", "no alias is there: follows from t48"),
    "t56": Difference(400, "Update errors: x.other.zone lies in none", _SILENT_DNS),
    "t70": Difference(409, "Record 192.0.2.0/192.0.2.71 already exists", _CASE),
    "t72": Difference(200, "", _UNKNOWN_FIELD),
    "t74": Difference(400, "Update errors: x.other.zone lies in none", _SILENT_DNS),
    "t89": Difference(404, "TFTP: Failed to retrieve pxe config file: File ", _PATH),
    "t94": Difference(400, "TFTP: Failed to create PXE default file: ", _RUBY),
    "t101": Difference(400, "TFTP: Failed to fetch boot file: No response from", "nothing fetched"),
    "t104": Difference(
        400, "TFTP: Failed to fetch boot file: Cannot fetch boot file, unknown", "does nothing"
    ),
    "t105": Difference(400, "TFTP: Failed to fetch boot file: prefix and path", _RUBY),
    "t106": Difference(400, "TFTP: Failed to fetch boot file: ", "nothing fetched"),
    "t119": Difference(404, "no such host", _HOST_TEXT),
    "t120": Difference(401, "token has expired", _HOST_TEXT),
    "t128": Difference(
        422, "Discovery failed, code 422, reason: Expected", "what is refused is no fault of ours"
    ),
    "t140": Difference(200, '{"installed_providers":[', _OURS),
    "t146": Difference(400, "The action: bogus is not a valid action", _FAULT),
    "t149": Difference(501, "NotImplementedError", "no controller here switches off softly"),
    "t151": Difference(200, '{"action":"reset","result":true}', "a reset restarts, as cycle does"),
    "t152": Difference(400, "The action: bogus is not a valid action", _FAULT),
    "t155": Difference(
        200,
        '{"action":"pxe","result":{"device":"pxe","reboot":"True","persistent":"False"}}',
        "JSON flags are heard, and false is false",
    ),
    "t156": Difference(400, "bogus is not a valid boot device", _FAULT),
    "t158": Difference(501, "NotImplementedError", _RUBY),
    "t160": Difference(501, "NotImplementedError", "not asked for by Rackrise"),
    "t162": Difference(200, '{"action":"status","result":"off"}', "ipmitool works here"),
}

NOT_REPLAYED: dict[str, str] = {
    **{
        str(number): "the Puppet CA is spoken to by Rackrise itself, not by the proxy"
        for number in range(48, 56)
    },
    **{
        f"t{place}": "the Puppet CA is spoken to by Rackrise itself, not by the proxy"
        for place in range(107, 117)
    },
    "t137": "registration goes to the gateway itself",
}
