"""Whether a proxy answers and its feature works: before anything is asked of what is behind it."""

from __future__ import annotations

from integrations.errors import Unavailable, Unsupported
from inventory.models import Proxy
from tasks.means import means

__all__ = ["feature_check", "feature_runs", "without_feature"]


def feature_check(feature: str) -> str:
    """What the check of a feature is called."""
    return f"the proxy's feature {feature} works"


def without_feature(proxy: Proxy, feature: str) -> str:
    """Why nothing is tried behind a feature that does not work."""
    return f"the feature {feature} of proxy {proxy.name} does not work"


async def feature_runs(proxy: Proxy, feature: str) -> str:
    """See that a proxy serves a feature, and that it calls it running.

    Raises:
        Unsupported: it does not serve it, or it is disabled.
        Unavailable: it has failed; with the proxy's own words, where it gives some.
    """
    client = means().proxies.of(proxy)
    listed = {one.name.lower(): one for one in await client.features()}
    found = listed.get(feature)
    place = {"system": "Smart Proxy", "address": proxy.url, "operation": f"serve {feature}"}
    if found is None:
        running = ", ".join(sorted(listed)) or "none"
        raise Unsupported(**place, said=f"the feature is not served; there are: {running}")
    if not found.running:
        said = f"the feature is {found.state}: {found.reason or 'no reason given'}"
        raise (Unsupported if found.state == "disabled" else Unavailable)(**place, said=said)
    return f"{feature} is running at {proxy.url}"
