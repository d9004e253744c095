"""In whose name commands act: also where the system has no name for whoever runs them."""

from __future__ import annotations

import getpass
import os

import pytest

from cli.actor import at_the_command_line
from inventory.models import Door


def test_a_user_has_the_name_that_the_system_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    actor = at_the_command_line()
    assert (actor.name, actor.door) == ("grace", Door.CLI)


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_a_name_is_called_by_number(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def nameless() -> str:
        raise error("uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert at_the_command_line().name == f"uid {os.getuid()}"
