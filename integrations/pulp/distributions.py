"""What Pulp serves under which path, and pins that keep a build at the publication it began with.

A distribution moves on with every sync. A pin is a distribution of our own that never moves: made
for a publication on demand, shared by all builds that began with it, and removed after the last.
Meanwhile Pulp keeps the version that it serves, whatever the repository's retention is.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from integrations.errors import OutsideError
from integrations.pulp.refusals import Taken
from integrations.pulp.repositories import RepositoryCalls, require_ours
from integrations.pulp.resources import LABEL, Distribution, Publication

__all__ = ["DistributionCalls", "pin_path", "serving"]

_DISTRIBUTIONS = "distributions/rpm/rpm/"
_PUBLICATIONS = "publications/rpm/rpm/"
_PINS = "rackrise-pins"
"""First part of every pin's path: no path may lie below that of another distribution."""


class DistributionCalls(RepositoryCalls):
    """The ``distributions`` mount of the RPM plugin."""

    async def distributions(self) -> list[Distribution]:
        """All distributions that we may see, pins included."""
        return await self._wire.listed(
            Distribution, _DISTRIBUTIONS, operation="list the distributions"
        )

    async def distribution(self, base_path: str) -> Distribution:
        """The distribution at a path.

        Raises:
            Refused: there is none, or we may not see it.
        """
        operation = f"find the distribution {base_path}"
        found = await self._distribution({"base_path": base_path}, operation)
        if found is None:
            user = self._wire.settings.user or "nobody"
            raise self._wire.refused(
                operation,
                f"none has this base path, or user {user} has no right to see it: Pulp says the"
                " same",
            )
        return found

    async def ensure_distribution(
        self, name: str, base_path: str, publication: Publication
    ) -> Distribution:
        """Serve a publication under a path from now on.

        Args:
            name: of the distribution, unique in this Pulp.
            base_path: without slashes at the ends.
            publication: what is served.

        Raises:
            Conflict: the name or the path is somebody else's.
        """
        return await self._serve(name, base_path, publication.href, "managed")

    async def publication_of(self, distribution: Distribution) -> Publication:
        """What a distribution serves at this moment.

        Raises:
            Refused: it serves no publication.
        """
        operation = f"tell what {distribution.base_path} serves"
        if distribution.publication:
            return await self._wire.read(Publication, distribution.publication, operation=operation)
        query = {"ordering": "-pulp_created"}
        if distribution.repository_version:
            query["repository_version"] = distribution.repository_version
        elif distribution.repository:
            query["repository"] = distribution.repository
        else:
            raise self._wire.refused(operation, "it is set to serve nothing")
        found = await self._wire.listed(
            Publication, _PUBLICATIONS, operation=operation, query=query
        )
        if not found:
            raise self._wire.refused(operation, "nothing of its repository is published")
        return found[0]

    async def pin(self, base_path: str, publication: str) -> Distribution:
        """Serve a publication at a path where it stays; a pin that is there is left alone.

        Args:
            base_path: from ``pin_path``.
            publication: reference of what it serves.

        Returns:
            The pin; its ``base_url`` is what a build is to use to its end.

        Raises:
            Refused: the publication is gone.
        """
        return await self._serve(base_path.replace("/", "."), base_path, publication, "pin")

    async def pins(self) -> list[Distribution]:
        """All pins that there are, for whoever removes those that no build needs."""
        return await self._wire.listed(
            Distribution,
            _DISTRIBUTIONS,
            operation="list the pins",
            query={"pulp_label_select": f"{LABEL}=pin"},
        )

    async def unpin(self, base_path: str) -> None:
        """Remove a pin; one that is gone already is success.

        Raises:
            Conflict: at this path is no pin.
        """
        operation = f"remove the pin {base_path}"
        found = await self._distribution({"base_path": base_path}, operation)
        if found is None:
            return
        require_ours(found, operation, self._wire.address, "pin")
        await self._finished(
            await self._wire.start("DELETE", found.href, operation=operation), operation=operation
        )

    async def _serve(self, name: str, base_path: str, publication: str, kind: str) -> Distribution:
        operation = f"serve {publication} at {base_path}"
        found = await self._distribution({"name": name}, operation)
        if found is None:
            try:
                return await self._made(name, base_path, publication, kind, operation)
            except Taken as taken:
                found = await self._distribution({"name": name}, operation)
                if found is None:
                    taken.owner = await self._owner(base_path)
                    raise
        if (found.base_path, found.publication) == (base_path, publication):
            return found
        require_ours(found, operation, self._wire.address, kind)
        wanted = {
            "base_path": base_path,
            "publication": publication,
            "repository": None,
            "repository_version": None,
        }
        task = await self._wire.change(Distribution, found.href, wanted, operation=operation)
        if task is not None:
            await self._finished(task, operation=operation)
        return await self._wire.read(Distribution, found.href, operation=operation)

    async def _made(
        self, name: str, base_path: str, publication: str, kind: str, operation: str
    ) -> Distribution:
        body = {
            "name": name,
            "base_path": base_path,
            "publication": publication,
            "pulp_labels": {LABEL: kind},
        }
        href = await self._wire.start("POST", _DISTRIBUTIONS, operation=operation, body=body)
        task = await self._finished(href, operation=operation)
        return await self._wire.read(Distribution, task.created[0], operation=operation)

    async def _distribution(self, query: dict[str, str], operation: str) -> Distribution | None:
        found = await self._wire.listed(
            Distribution, _DISTRIBUTIONS, operation=operation, query=query
        )
        return found[0] if found else None

    async def _owner(self, base_path: str) -> str:
        """Whose distribution is in the way of a path."""
        try:
            known = await self.distributions()
        except OutsideError as error:
            return f"unknown: {error}"
        wanted = f"{base_path}/"
        names = [
            f"{one.name} at {one.base_path}"
            for one in known
            if wanted.startswith(f"{one.base_path}/") or f"{one.base_path}/".startswith(wanted)
        ]
        return f"the distribution {', '.join(names)}" if names else "one that we may not see"


def pin_path(distribution: Distribution, publication: Publication) -> str:
    """Base path of the pin on a publication; known before the pin is made, and always the same."""
    return f"{_PINS}/{distribution.base_path}/{_last_part(publication.href)}"


def serving(url: str, distributions: Iterable[Distribution]) -> Distribution | None:
    """The distribution that serves a URL which a host reports, or a file below it.

    Only paths are compared: a host may reach Pulp by another name than we do.
    """
    path = f"{unquote(urlsplit(url).path).rstrip('/')}/"
    # No base path lies below another one, so that at most one matches.
    return next(
        (one for one in distributions if path.startswith(urlsplit(one.base_url).path)), None
    )


def _last_part(href: str) -> str:
    return href.rstrip("/").rsplit("/", 1)[-1]
