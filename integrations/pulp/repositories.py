"""From upstream to a publication: remotes, repositories, syncs, versions, publications."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from integrations.errors import Conflict
from integrations.pulp.refusals import SYSTEM, Taken
from integrations.pulp.resources import (
    LABEL,
    Distribution,
    Policy,
    Publication,
    Remote,
    Repository,
    Synced,
    Version,
)
from integrations.pulp.tasks import OnProgress, Task, TaskCalls

__all__ = ["RepositoryCalls"]

_REMOTES = "remotes/rpm/rpm/"
_REPOSITORIES = "repositories/rpm/rpm/"
_PUBLICATIONS = "publications/rpm/rpm/"
_SYNC = "pulp_rpm.app.tasks.synchronizing.synchronize"

R = TypeVar("R", Remote, Repository)


class RepositoryCalls(TaskCalls):
    """The ``remotes``, ``repositories`` and ``publications`` mounts of the RPM plugin."""

    async def ensure_remote(self, name: str, url: str, policy: Policy = "immediate") -> Remote:
        """Make a remote be as given; one that is so already is left alone.

        Args:
            name: unique in this Pulp.
            url: of the upstream tree or repository.
            policy: when packages are fetched; trees are worth ``immediate``.

        Raises:
            Conflict: somebody else's remote of that name is otherwise.
        """
        wanted = {"url": url, "policy": policy}
        return await self._ensured(Remote, _REMOTES, name, wanted, "remote")

    async def ensure_repository(self, name: str, *, keep_versions: int = 3) -> Repository:
        """Make a repository be there.

        Args:
            name: unique in this Pulp.
            keep_versions: how many, when it is made; a version that is served is kept on top.
        """
        wanted = {"retain_repo_versions": keep_versions}
        operation = f"have the repository {name}"
        found = await self._named(Repository, _REPOSITORIES, name, operation)
        return found or await self._created(Repository, _REPOSITORIES, name, wanted, operation)

    async def sync(
        self,
        repository: Repository,
        remote: Remote,
        on_progress: OnProgress | None = None,
    ) -> Synced:
        """Make the repository's newest version the same as upstream is now.

        A sync of the repository that runs already is joined, so that a caller that was interrupted
        starts nothing twice.

        Raises:
            Unavailable: upstream or a worker of Pulp is away, or it takes too long.
            Unverified: what upstream gave is not what it promised, such as another checksum.
            Refused: upstream has no such repository.
            Conflict: the repository is somebody else's; all that upstream lacks would leave it.
        """
        operation = f"sync {repository.name} from {remote.url}"
        require_ours(repository, operation, self._wire.address)
        href = await self._sync_under_way(repository, operation)
        if href is None:
            href = await self._wire.start(
                "POST",
                f"{repository.href}sync/",
                operation=operation,
                body={"remote": remote.href, "sync_policy": "mirror_content_only"},
            )
        task = await self._finished(
            href,
            operation=operation,
            deadline=self._wire.settings.sync_timeout,
            on_progress=on_progress,
        )
        made = next((new for new in task.created if new.startswith(repository.href)), None)
        now = await self._wire.read(Repository, repository.href, operation=operation)
        version = await self._wire.read(Version, made or now.latest_version, operation=operation)
        return Synced(version=version, changed=made is not None)

    async def _sync_under_way(self, repository: Repository, operation: str) -> str | None:
        tasks = await self._wire.listed(
            Task,
            "tasks/",
            operation=operation,
            query={
                "name": _SYNC,
                "state__in": "waiting,running",
                "exclusive_resources": repository.href,
            },
        )
        return tasks[0].href if tasks else None

    async def ensure_publication(self, version: Version) -> Publication:
        """The newest publication of a version, which is made if there is none.

        Pulp itself would make a new one each time that it is asked.
        """
        operation = f"publish version {version.number} of {version.repository}"
        there = await self._wire.listed(
            Publication,
            _PUBLICATIONS,
            operation=operation,
            query={"repository_version": version.href, "ordering": "-pulp_created"},
        )
        if there:
            return there[0]
        href = await self._wire.start(
            "POST", _PUBLICATIONS, operation=operation, body={"repository_version": version.href}
        )
        task = await self._finished(href, operation=operation)
        return await self._wire.read(Publication, task.created[0], operation=operation)

    async def _ensured(
        self, shape: type[R], mount: str, name: str, wanted: Mapping[str, object], what: str
    ) -> R:
        operation = f"have the {what} {name}"
        found = await self._named(shape, mount, name, operation)
        if found is None:
            found = await self._created(shape, mount, name, wanted, operation)
        if all(getattr(found, key) == value for key, value in wanted.items()):
            return found
        require_ours(found, operation, self._wire.address)
        href = await self._wire.change(shape, found.href, wanted, operation=operation)
        if href is not None:
            await self._finished(href, operation=operation)
        return await self._wire.read(shape, found.href, operation=operation)

    async def _named(self, shape: type[R], mount: str, name: str, operation: str) -> R | None:
        query = {"name": name}
        found = await self._wire.listed(shape, mount, operation=operation, query=query)
        return found[0] if found else None

    async def _created(
        self, shape: type[R], mount: str, name: str, wanted: Mapping[str, object], operation: str
    ) -> R:
        body = {"name": name, "pulp_labels": {LABEL: "managed"}, **wanted}
        try:
            return await self._wire.create(shape, mount, body, operation=operation)
        except Taken:
            found = await self._named(shape, mount, name, operation)
            if found is None:
                raise  # somebody's whom we may not see
            return found


def require_ours(
    found: Remote | Repository | Distribution, operation: str, address: str, kind: str = "managed"
) -> None:
    """Raise a conflict if somebody else made it."""
    if found.labels.get(LABEL) == kind:
        return
    raise Conflict(
        system=SYSTEM,
        address=address,
        operation=operation,
        said=f"{found.href} is not ours to change: it lacks the label {LABEL}={kind}, which would"
        " hand it over to us",
        owner=f"whoever made {found.name} in Pulp",
    )
