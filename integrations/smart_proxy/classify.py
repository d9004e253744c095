"""Turn a Smart Proxy's refusal into an error of our tree: its status alone says too little.

Transient faults come as 400, permanent ones as 404, and the text is all that tells them apart, so
the words are matched per feature, first rule first (contract, sections 1.8 and 11.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from integrations.errors import (
    Busy,
    Conflict,
    OutsideError,
    Refused,
    Unavailable,
    Unsupported,
    Unverified,
)

__all__ = ["NOT_SERVED", "refusal"]

NOT_SERVED = "Requested url was not found"
"""What every listener says about a feature that is not enabled on it: no sign of absence."""

_LONGEST_QUOTE = 500
_UNKNOWN_OWNER = "unknown: the proxy does not say"


@dataclass(frozen=True)
class _Rule:
    """One kind of refusal: empty feature or status match all."""

    raises: type[OutsideError]
    feature: str = ""
    status: int = 0
    text: str = ""

    def matches(self, feature: str, status: int, text: str) -> bool:
        return (
            self.feature in ("", feature)
            and self.status in (0, status)
            and re.search(self.text, text) is not None
        )


_RULES = (
    # Foreman's says 500, ours the gateway's own status.
    _Rule(Refused, "discovery", text=r"^Discovery failed, code 4\d\d"),
    _Rule(Conflict, status=409),
    _Rule(Conflict, "dhcp", 400, r"Entry already exists"),
    _Rule(Unavailable, "", 400, r"No response from "),
    _Rule(Unavailable, "dns", 400, r"(?s)Update errors:.*(SERVFAIL|timed out)"),
    _Rule(Unverified, "tftp", 400, r"is not whole"),
    _Rule(Unavailable, "puppetca", 406),
    _Rule(Unsupported, status=404, text=re.escape(NOT_SERVED)),
    _Rule(Unsupported, status=501),
    _Rule(Busy, status=429),
    _Rule(Busy, status=503),
)


def refusal(*, feature: str, status: int, text: str, address: str, operation: str) -> OutsideError:
    """Tell what an answer other than 200 means.

    Args:
        feature: the proxy's name of the feature that was called: ``dhcp``, ``dns``, ``tftp`` ...
        status: HTTP status of the answer.
        text: its body, plain text whatever its content type says.
        address: URL of the proxy.
        operation: what was asked for, as an operator would say it.
    """
    said = f"{status} {text.strip()[:_LONGEST_QUOTE]}".strip()
    kind = next((r.raises for r in _RULES if r.matches(feature, status, text)), None)
    if kind is None:
        kind = Unavailable if status >= 500 else Refused
    if kind is Conflict:
        return Conflict(
            system="Smart Proxy",
            address=address,
            operation=operation,
            said=said,
            owner=_UNKNOWN_OWNER,
        )
    return kind(system="Smart Proxy", address=address, operation=operation, said=said)
