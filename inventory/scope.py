"""Which hosts something is about: what people, their open pages and webhooks are limited to."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Scope"]


@dataclass(frozen=True)
class Scope:
    """Sites and host groups by name; empty sets are no limit."""

    sites: frozenset[str] = frozenset()
    host_groups: frozenset[str] = frozenset()
    """A host without a group is everybody's at its site: it waits for somebody to take it."""

    @property
    def everything(self) -> bool:
        """Whether there is no limit."""
        return not self.sites and not self.host_groups

    def admits(self, site: str | None, host_group: str | None) -> bool:
        """Whether a host of a site and a group is within."""
        at_site = not self.sites or site in self.sites
        in_group = not self.host_groups or host_group is None or host_group in self.host_groups
        return at_site and in_group
