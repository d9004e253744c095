"""sushy's errors, sorted into the branches of the error tree."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from sushy import exceptions

from integrations.errors import Busy, OutsideError, Refused, Unavailable, Unsupported

__all__ = ["from_sushy"]

# 409 is how BMCs answer while they are busy with the action before.
_LATER = {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


def from_sushy(error: exceptions.SushyError, *, address: str, operation: str) -> OutsideError:
    """The error of the tree that an error of sushy stands for.

    Args:
        error: what sushy raised.
        address: the BMC's URL.
        operation: what was asked of it.
    """
    kind, said = _sort(error)
    return kind(system="Redfish", address=address, operation=operation, said=said)


def _sort(error: exceptions.SushyError) -> tuple[type[OutsideError], str]:
    said = str(error)
    if isinstance(error, exceptions.AccessError):
        return Refused, f"{said} Check user, password and the account's rights on the BMC."
    if isinstance(error, exceptions.UnknownDefaultError):
        return Refused, f"{said}; name one of its systems in the setting 'system'"
    if isinstance(error, exceptions.ResourceNotFoundError):
        return Refused, f"{said}; check the settings 'url' and 'system'"
    if isinstance(error, exceptions.ConnectionError):
        if any("SSL" in type(cause).__name__ for cause in _causes(error)):
            return Refused, f"{said}; give the BMC's authority in the setting 'verify'"
        return Unavailable, said
    if isinstance(error, exceptions.HTTPError):
        return _by_status(error.status_code), said
    if isinstance(error, exceptions.MissingActionError | exceptions.InvalidParameterValueError):
        return Unsupported, said
    return Refused, said


def _by_status(status: int) -> type[OutsideError]:
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return Unsupported
    if status in _LATER:
        return Busy
    return Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Refused


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
