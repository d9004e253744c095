"""Answers that the lab's BMC does not give: which branch of the error tree they are."""

from types import SimpleNamespace

import pytest
from requests import Response
from sushy import exceptions

from integrations.errors import Busy, OutsideError, Refused, Unavailable, Unsupported
from integrations.power import redfish
from integrations.power.redfish_errors import from_sushy


def by_status(status: int) -> exceptions.SushyError:
    answer = Response()
    answer.status_code = status
    answer._content = b'{"error": {"code": "X.1", "message": "in the BMC\'s own words"}}'
    with pytest.raises(exceptions.HTTPError) as caught:
        exceptions.raise_for_response("POST", "/redfish/v1/x", answer)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, Refused),
        (403, Refused),
        (404, Refused),
        (405, Refused),
        (406, Refused),
        (409, Busy),
        (429, Busy),
        (500, Unavailable),
        (501, Unsupported),
        (502, Unavailable),
        (503, Busy),
    ],
)
def test_the_status_decides_the_branch(status: int, kind: type[OutsideError]) -> None:
    error = from_sushy(by_status(status), address="https://192.0.2.8", operation="do x")
    assert type(error) is kind
    assert str(error).startswith("Redfish at https://192.0.2.8 could not do x: ")
    if status != 404:  # for which sushy keeps its own sentence
        assert "in the BMC's own words" in str(error)


def test_a_bmc_without_the_reset_action_is_unsupported() -> None:
    missing = exceptions.MissingActionError(action="#ComputerSystem.Reset", resource="/x")
    assert type(from_sushy(missing, address="a", operation="o")) is Unsupported


def test_a_bmc_without_boot_override_says_so() -> None:
    with pytest.raises(redfish._NotOfferedError, match="no boot override"):
        redfish._override(SimpleNamespace(boot=None))
