"""Install trees in Pulp: where the boot files of one are, and their checksums."""

from __future__ import annotations

from pydantic import BaseModel

from integrations.errors import Refused
from integrations.pulp.distributions import DistributionCalls
from integrations.pulp.resources import Distribution
from integrations.treeinfo import TreeFile, TreeInfo, read_treeinfo

__all__ = ["TreeCalls"]


class _Checksum(BaseModel):
    path: str
    checksum: str


class _Artifact(BaseModel):
    sha256: str | None = None


class _Image(BaseModel):
    name: str
    path: str
    platforms: str = ""
    artifact: _Artifact | str | None = None
    """Whole, as a bare href, or not at all: as the plugin's version has it."""

    def is_for(self, architecture: str) -> bool:
        return architecture in (one.strip() for one in self.platforms.split(","))


class _Variant(BaseModel):
    variant_id: str


class _Tree(BaseModel):
    release_name: str = ""
    release_version: str = ""
    arch: str
    mainimage: str | None = None
    checksums: tuple[_Checksum, ...] = ()
    images: tuple[_Image, ...] = ()
    variants: tuple[_Variant, ...] = ()

    def __str__(self) -> str:
        variants = "+".join(one.variant_id for one in self.variants) or "no variant"
        return f"{self.release_name} {self.release_version} {self.arch} {variants}"

    def sha256(self, path: str) -> str | None:
        listed = next((one.checksum for one in self.checksums if one.path == path), "")
        kind, _, value = listed.partition(":")
        return value.strip().lower() if kind == "sha256" else None


class TreeCalls(DistributionCalls):
    """The ``content/rpm/distribution_trees`` mount, and ``.treeinfo`` of the content app."""

    async def boot_tree(
        self, distribution: Distribution, *, architecture: str, variant: str | None = None
    ) -> TreeInfo:
        """Find the boot files of the tree that a distribution or a pin serves.

        Where Pulp shows us no tree, which is also how it says that we may not look, the served
        ``.treeinfo`` is read, for which nobody needs a right.

        Args:
            distribution: its ``base_url`` is where the paths begin.
            architecture: e.g. ``x86_64``.
            variant: e.g. ``BaseOS``; None: there is only one tree.

        Raises:
            Refused: none or several trees match, or one lacks what is needed.
            Unavailable: Pulp's API or content app does not answer.
        """
        operation = f"find the install tree of {distribution.base_path}"
        try:
            publication = await self.publication_of(distribution)
            trees = await self._wire.listed(
                _Tree,
                "content/rpm/distribution_trees/",
                operation=operation,
                query={"repository_version": publication.version},
            )
        except Refused as refused:
            trees, reason = [], str(refused)
        else:
            reason = "Pulp shows no tree there"
        if not trees:
            return await self._served_tree(
                distribution.base_url, architecture, variant, operation, reason
            )
        matching = [
            tree
            for tree in trees
            if tree.arch == architecture
            and (variant is None or variant in (one.variant_id for one in tree.variants))
        ]
        if len(matching) != 1:
            what = f"{architecture} {variant or 'any variant'}"
            count = "no tree is" if not matching else f"{len(matching)} trees are"
            raise self._wire.refused(
                operation, f"{count} for {what}; there are: {', '.join(map(str, trees))}"
            )
        return self._boot_files(matching[0], architecture, operation)

    async def _served_tree(
        self, url: str, architecture: str, variant: str | None, operation: str, reason: str
    ) -> TreeInfo:
        try:
            info = await read_treeinfo(self._wire.content, url, architecture)
        except Refused as refused:
            said = f"{reason}; and {refused}" if reason else str(refused)
            raise self._wire.refused(operation, said) from refused
        if variant is not None and variant not in info.variants:
            raise self._wire.refused(
                operation, f"no variant {variant}; it has: {', '.join(info.variants) or '-'}"
            )
        return info

    def _boot_files(self, tree: _Tree, architecture: str, operation: str) -> TreeInfo:
        def image(name: str) -> TreeFile:
            found = [one for one in tree.images if one.name == name and one.is_for(architecture)]
            if len(found) != 1:
                count = f"{len(found)} images are" if found else "no image is"
                raise self._wire.refused(operation, f"{count} its {name} for {architecture}")
            artifact = found[0].artifact
            known = artifact.sha256 if isinstance(artifact, _Artifact) else None
            sha256 = known or tree.sha256(found[0].path)
            if sha256 is None:
                raise self._wire.refused(
                    operation, f"{found[0].path} has no sha256, so it cannot be verified"
                )
            return TreeFile(path=found[0].path, sha256=sha256)

        return TreeInfo(
            kernel=image("kernel"),
            initrd=image("initrd"),
            stage2=tree.mainimage,
            stage2_sha256=tree.sha256(tree.mainimage) if tree.mainimage else None,
            variants=tuple(one.variant_id for one in tree.variants),
        )
