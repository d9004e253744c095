"""A test that did not run is told of: what this machine lacks is named in one line at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

NOT_HERE = "../shared"
"""Samples that are kept beside the clone and not in it: CI may be without them."""

PROGRAMS = {
    "servers": (
        "dhcpd",
        "kea-dhcp4",
        "named",
        "in.tftpd",
        "ipmi_sim",
        "ipmitool",
        "sshd",
        "busybox",
        "redis-server",
        "rpmbuild",
        "createrepo_c",
    ),
    "machines": ("qemu-system-x86_64", "mmdebstrap", "mksquashfs", "rpmbuild", "createrepo_c"),
}
"""What stands for the Debian packages in lab/packages.txt that the tests of a marker need."""


def lacks(marker: str) -> str | None:
    """What this machine lacks for the tests with a marker, in words."""
    if os.geteuid() != 0:
        return "root"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return "the right to make network namespaces"
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS[marker] if shutil.which(name, path=path) is None]
    return f"{', '.join(missing)} (make setup as root installs them)" if missing else None


# Before pytest itself chooses by marker.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by name what cannot run here; what needs Prefect's server takes long."""
    for item in items:
        if "prefect_api" in getattr(item, "fixturenames", ()):
            item.add_marker("long")
    for marker in PROGRAMS:
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and (lack := lacks(marker)):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=f"this machine lacks {lack}"))


def not_run(skipped: Iterable[str], left_out: str) -> str:
    """The line at the end.

    Args:
        skipped: the reason of each test that was skipped.
        left_out: the marker expression of the command line, which chose the tests.
    """
    told = [f"{count} because {reason}" for reason, count in sorted(Counter(skipped).items())]
    if left_out:
        told.append(f"all but {left_out!r}")
    return f"not run: {'; '.join(told)}" if told else "not run: none, all tests ran"


def forbidden(skipped: Iterable[str]) -> list[str]:
    """The skips that CI does not accept: it installs all that tests need."""
    return [reason for reason in skipped if NOT_HERE not in reason]


def _reasons(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    # longrepr of a skip is (file, line, "Skipped: reason").
    return [str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skip is a failure."""
    if os.environ.get("CI") == "true" and forbidden(_reasons(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Say what did not run, below everything else."""
    yield
    reasons = _reasons(config)
    terminalreporter.write_line(not_run(reasons, config.option.markexpr))
    if os.environ.get("CI") == "true" and forbidden(reasons):
        terminalreporter.write_line("failed: in CI nothing may be skipped", red=True)
