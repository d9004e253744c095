"""Boot configurations on disk: where they lie, and that they are whole at any moment."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import httpx
import pytest

from integrations.bootfetch import FetchLimits
from integrations.bootfiles import BootKind, BootRoot, default_paths, host_paths
from integrations.errors import Exhausted, Refused, Unsupported
from integrations.records import BootConfig, Loader, Outcome

MAC = "52:54:00:aa:bb:01"
TABLE = [
    ("PXELinux", ["pxelinux.cfg/01-52-54-00-aa-bb-01"], ["pxelinux.cfg/default"]),
    ("Syslinux", ["pxelinux.cfg/01-52-54-00-aa-bb-01"], ["pxelinux.cfg/default"]),
    (
        "PXEGrub2",
        ["grub2/grub.cfg-01-52-54-00-aa-bb-01", "grub2/grub.cfg-52:54:00:aa:bb:01"],
        ["grub2/grub.cfg"],
    ),
    (
        "PXEGrub",
        ["grub/menu.lst.01525400AABB01", "grub/01-52-54-00-AA-BB-01"],
        ["grub/menu.lst", "grub/efidefault"],
    ),
    ("iPXE", ["pxelinux.cfg/01-52-54-00-aa-bb-01.ipxe"], ["pxelinux.cfg/default.ipxe"]),
    ("ZTP", ["ztp.cfg/525400AABB01", "ztp.cfg/525400AABB01.cfg"], ["ztp.cfg"]),
    ("POAP", ["poap.cfg/525400AABB01"], []),
]


@pytest.fixture
def boot(tmp_path: Path) -> BootRoot:
    return BootRoot(tmp_path, httpx.AsyncClient(), FetchLimits())


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def config(loader: Loader = Loader.PXELINUX, text: str = "DEFAULT install\n") -> BootConfig:
    return BootConfig(loader=loader, mac=MAC, text=text)


@pytest.mark.parametrize(("kind", "host", "default"), TABLE)
def test_files_lie_where_a_smart_proxy_puts_them(
    kind: str, host: list[str], default: list[str]
) -> None:
    assert list(host_paths(BootKind(kind), MAC)) == host
    assert list(host_paths(BootKind(kind), "52-54-00-AA-BB-01")) == host
    assert list(default_paths(BootKind(kind))) == default


@pytest.mark.parametrize("loader", Loader)
async def test_a_configuration_is_written_read_and_removed(
    boot: BootRoot, tmp_path: Path, loader: Loader
) -> None:
    written = config(loader, "größe\r\n")
    assert await boot.read(loader, MAC) is None
    assert await boot.write(written) == Outcome.CREATED
    assert await boot.write(written) == Outcome.ALREADY
    assert await boot.read(loader, "52-54-00-AA-BB-01") == written.text
    for path in host_paths(loader, MAC):
        assert (tmp_path / path).read_bytes() == written.text.encode()
    assert await boot.write(config(loader, "other\n")) == Outcome.CREATED
    assert await boot.remove(loader, MAC) == Outcome.REMOVED
    assert await boot.remove(loader, MAC) == Outcome.ABSENT
    assert files_below(tmp_path) == []


async def test_a_configuration_that_is_only_half_there_is_written_again(
    boot: BootRoot, tmp_path: Path
) -> None:
    await boot.write(config(Loader.GRUB2))
    (tmp_path / "grub2/grub.cfg-01-52-54-00-aa-bb-01").unlink()
    assert await boot.read(Loader.GRUB2, MAC) is None
    assert await boot.write(config(Loader.GRUB2)) == Outcome.CREATED
    assert await boot.read(Loader.GRUB2, MAC) == config().text


@pytest.mark.parametrize("kind", [kind for kind in BootKind if kind != BootKind.POAP])
async def test_defaults_are_written_and_read(boot: BootRoot, kind: BootKind) -> None:
    assert await boot.read_default(kind) is None
    assert await boot.write_default(kind, "menu") == Outcome.CREATED
    assert await boot.write_default(kind, "menu") == Outcome.ALREADY
    assert await boot.read_default(kind) == "menu"


async def test_a_kind_without_a_default_says_so(boot: BootRoot) -> None:
    with pytest.raises(Unsupported, match="POAP has no default"):
        await boot.write_default(BootKind.POAP, "menu")


async def test_a_default_whose_name_is_a_directory_is_refused(boot: BootRoot) -> None:
    await boot.write_kind(BootKind.ZTP, MAC, "x")
    with pytest.raises(Refused, match="directory"):
        await boot.write_default(BootKind.ZTP, "menu")
    assert await boot.read(Loader.PXELINUX, MAC) is None


async def test_everybody_may_read_whatever_our_umask(boot: BootRoot, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        await boot.write(config())
    finally:
        os.umask(before)
    file = tmp_path / "pxelinux.cfg/01-52-54-00-aa-bb-01"
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.parent.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("mac", ["../../etc/passwd", "", "52:54:00:aa:bb", "01:00:5e:00:00:01"])
async def test_what_is_no_mac_address_is_refused(boot: BootRoot, tmp_path: Path, mac: str) -> None:
    for doing in (
        boot.read(Loader.PXELINUX, mac),
        boot.write_kind(Loader.PXELINUX, mac, "x"),
        boot.remove(Loader.PXELINUX, mac),
    ):
        with pytest.raises(Refused):
            await doing
    assert files_below(tmp_path) == []


async def test_a_reader_meets_the_old_text_or_the_new_one(boot: BootRoot, tmp_path: Path) -> None:
    texts = {letter * 50_000 for letter in "ab"}
    await boot.write(config(text="a" * 50_000))
    file, seen, done = tmp_path / host_paths(Loader.PXELINUX, MAC)[0], set[str](), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(file.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(60):
            await boot.write(config(text="ab"[turn % 2] * 50_000))
    finally:
        done.set()
        reader.join()
    assert seen == texts


async def test_a_full_disk_is_exhausted_and_leaves_the_old_text(
    boot: BootRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await boot.write(config(text="old"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exhausted, match="No space left"):
        await boot.write(config(text="new"))
    assert await boot.read(Loader.PXELINUX, MAC) == "old"
    assert len(list((tmp_path / "pxelinux.cfg").iterdir())) == 1
