"""The pure parts of building images: orders, descriptions, specs."""

from __future__ import annotations

import configparser
import hashlib
from pathlib import Path
from xml.etree import ElementTree

from lab.images import system
from lab.images.debian import slim
from lab.images.kernel import load_order
from lab.images.rpms import Package, spec
from lab.images.treeinfo import IMAGES, treeinfo


def test_modules_are_loaded_once_each_where_they_are_first_needed() -> None:
    shown = """\
insmod /m/virtio_ring.ko
insmod /m/virtio.ko
insmod /m/virtio_pci.ko
insmod /m/virtio_ring.ko
insmod /m/failover.ko
insmod /m/virtio_net.ko
"""
    assert [path.stem for path in load_order(shown)] == [
        "virtio_ring", "virtio", "virtio_pci", "failover", "virtio_net",
    ]  # fmt: skip


def test_a_module_that_is_built_in_is_not_loaded() -> None:
    assert load_order("builtin ext4\ninsmod /m/loop.ko\n") == [Path("/m/loop.ko")]


def test_a_treeinfo_names_the_images_with_their_checksums(tmp_path: Path) -> None:
    for file in (*IMAGES.values(), "repodata/repomd.xml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(file)
    parser = configparser.ConfigParser()
    parser.read_string(treeinfo(tmp_path, name="LabOS", version="9", timestamp=1700000000))
    assert parser["images-x86_64"]["kernel"] == "images/pxeboot/vmlinuz"
    assert parser["images-x86_64"]["initrd"] == "images/pxeboot/initrd.img"
    assert parser["stage2"]["mainimage"] == "images/install.img"
    assert parser["tree"]["arch"] == "x86_64"
    for file in (*IMAGES.values(), "repodata/repomd.xml"):
        sha256 = hashlib.sha256(file.encode()).hexdigest()
        assert parser["checksums"][file] == f"sha256:{sha256}"


def test_a_spec_holds_its_tree_and_no_scriptlets() -> None:
    text = spec(Package("x", "An x", provides=("y",), requires=("z",)), Path("/somewhere"))
    assert "Name: x\n" in text
    assert "Provides: y\n" in text
    assert "Requires: z\n" in text
    assert "cp -a /somewhere/. %{buildroot}/" in text
    assert "w3.zstdio" in text
    assert not {"%pre", "%post", "%preun", "%postun"} & set(text.split())


def test_the_groups_lead_from_the_minimal_environment_to_the_base_package() -> None:
    comps = ElementTree.fromstring(system.GROUPS)
    assert [e.text for e in comps.findall("environment/id")] == ["minimal-environment"]
    assert [e.text for e in comps.findall("environment/grouplist/groupid")] == ["core"]
    assert [e.text for e in comps.findall("group/id")] == ["core"]
    assert [e.text for e in comps.findall("group/packagelist/packagereq")] == ["labos-base"]


def test_slimming_removes_files_and_directories_but_never_what_a_link_points_to(
    tmp_path: Path,
) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "usr/share/perl/5").mkdir(parents=True)
    (tree / "usr/share/kept").mkdir()
    outside.mkdir()
    (outside / "file").touch()
    (tree / "usr/share/perl5").symlink_to(outside)
    (tree / "extra").touch()
    slim(tree, ["ext*"])
    assert not (tree / "usr/share/perl").exists()
    assert not (tree / "usr/share/perl5").is_symlink()
    assert not (tree / "extra").exists()
    assert (tree / "usr/share/kept").is_dir()
    assert (outside / "file").exists()
    assert (tree / "proc").is_dir()
    assert (tree / "tmp").stat().st_mode & 0o7777 == 0o1777
