"""What should exist is a function of what is known, and of nothing else."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from integrations.treeinfo import TreeFile, TreeInfo
from inventory.models import InstallTree
from tasks import desired

KEY = b"k" * 32
FILE = TreeFile(path="images/pxeboot/vmlinuz", sha256="ab" * 32)


@given(st.uuids(), st.uuids())
def test_each_build_has_its_own_token(one: UUID, other: UUID) -> None:
    token = desired.build_token(KEY, one)
    assert token == desired.build_token(KEY, one)
    assert (token == desired.build_token(KEY, other)) == (one == other)
    assert token != desired.build_token(b"K" * 32, one)
    assert len(token) == 40
    assert token.isalnum()


def test_files_of_other_content_have_other_paths() -> None:
    tree = InstallTree(name="labos", operating_system_id=1)
    info = TreeInfo(kernel=FILE, initrd=FILE, stage2=None)
    changed = TreeInfo(
        kernel=FILE.model_copy(update={"sha256": "cd" * 32}), initrd=FILE, stage2="images/i.img"
    )
    base = "http://192.0.2.1/tree"
    before, after = (desired.boot_files(tree, base, one) for one in (info, changed))
    assert before.kernel.path != after.kernel.path
    assert before.initrd == after.initrd
    assert before.kernel.url == "http://192.0.2.1/tree/images/pxeboot/vmlinuz"
    assert (before.stage2_url, after.stage2_url) == (
        "http://192.0.2.1/tree",
        "http://192.0.2.1/tree/images/i.img",
    )
