"""What a kickstart would make a machine do, read from it as Anaconda reads it.

The scripts are not run: they belong to an installed system, and this machine is not one. What
they would say to Rackrise stands in lines of their own, and those are found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pykickstart.constants import KS_SCRIPT_ONERROR, KS_SCRIPT_POST, KS_SCRIPT_PRE
from pykickstart.errors import KickstartError
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from lab.simulated.rhsm import Registration

__all__ = ["Call", "Kickstart", "read_kickstart"]

_HERE_DOCUMENT = re.compile(
    r"<<'RACKRISE_SCRIPT'\n(.*?)\nRACKRISE_SCRIPT$", re.DOTALL | re.MULTILINE
)
_CALL = re.compile(r"^(?:if ! )?call_home (\w+)|^progress '([^']+)'", re.MULTILINE)

_REGISTRATION = re.compile(
    r"--server\.hostname='(?P<host>[^']+)'.*?--server\.port='(?P<port>\d+)'"
    r".*?--server\.prefix='(?P<prefix>[^']+)'",
    re.DOTALL,
)
_KEYS = re.compile(r"--org='(?P<owner>[^']+)' \\\n *--activationkey='(?P<keys>[^']+)'")
_CA = re.compile(r"<<'RACKRISE_CA'\n(.*?)\nRACKRISE_CA$", re.DOTALL | re.MULTILINE)
_TOKEN = re.compile(r'^  1\.2\.840\.113549\.1\.9\.7: "([0-9a-f]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Call:
    """A call home: ``POST`` to a URL."""

    what: str
    """Its last part, such as ``built``."""
    url: str
    stage: str = ""
    """Of a word of progress."""


@dataclass(frozen=True)
class Kickstart:
    """What matters of a kickstart."""

    hostname: str
    tree: str
    packages: tuple[str, ...]
    before: tuple[Call, ...]
    """Calls of ``%pre``."""
    after: tuple[Call, ...]
    """Calls of ``%post``, in their order."""
    on_error: tuple[Call, ...]
    first_boot: tuple[Call, ...]
    """Calls of the unit that ``%post`` installs."""
    reboots: bool
    certificate_token: str = ""
    """With which Puppet's agent asks for its certificate; empty: there is no agent."""
    registration: Registration | None = None
    """None: the host registers nowhere."""


def read_kickstart(text: str, version: str = "RHEL9") -> Kickstart:
    """Parse a kickstart.

    Raises:
        ValueError: pykickstart refuses it; in its words.
    """
    handler = makeVersion(version)
    parser = KickstartParser(handler)
    try:
        parser.readKickstartFromString(text)
    except KickstartError as error:
        raise ValueError(str(error)) from error

    def scripts(kind: int) -> str:
        return "\n".join(one.script for one in handler.scripts if one.type == kind)

    post = scripts(KS_SCRIPT_POST)
    installed = "\n".join(_HERE_DOCUMENT.findall(post))
    names = [one.hostname for one in handler.network.network if one.hostname]
    return Kickstart(
        hostname=names[-1] if names else "localhost",
        tree=handler.url.url.rstrip("/"),
        packages=tuple(handler.packages.packageList),
        before=_calls(scripts(KS_SCRIPT_PRE)),
        after=_calls(_HERE_DOCUMENT.sub("", post)),
        on_error=_calls(scripts(KS_SCRIPT_ONERROR)),
        first_boot=_calls(installed),
        reboots=handler.reboot.action is not None,
        certificate_token=(_TOKEN.findall(post) or [""])[0],
        registration=_registration(post),
    )


def _registration(post: str) -> Registration | None:
    place, keys, ca = _REGISTRATION.search(post), _KEYS.search(post), _CA.search(post)
    if place is None or keys is None:
        return None
    return Registration(
        url=f"https://{place['host']}:{place['port']}{place['prefix']}",
        ca=ca[1] if ca else "",
        owner=keys["owner"],
        keys=keys["keys"],
    )


def _calls(script: str) -> tuple[Call, ...]:
    # Each script sets both before it calls; all of one kickstart set the same.
    gateway = re.search(r"^gateway='([^']+)'$", script, re.MULTILINE)
    token = re.search(r"^token='([^']+)'$", script, re.MULTILINE)
    if not gateway or not token:
        return ()
    return tuple(
        Call(what or "progress", f"{gateway[1]}/{what or 'progress'}?token={token[1]}", stage)
        for what, stage in _CALL.findall(script)
    )
