"""Forms that were refused: shown once more with what was typed, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import Request

from gateway.answers import Refusal
from gateway.operators.refusals import status_of
from inventory.errors import InventoryError

__all__ = ["NOT_REFUSED", "Refused", "refusal_of"]

_NEVER_SHOWN = frozenset({"form", "old", "new"})
"""The value that makes a form ours, and passwords."""


@dataclass(frozen=True)
class Refused:
    """Which form of a page was refused, why, and what stood in it."""

    form: str = ""
    """Empty: none was."""
    sentence: str = ""
    status: int = 200
    typed: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def value(self, form: str, name: str, otherwise: str | None = "") -> str | None:
        """What stands in a field of a form: what was typed, or what stands there at first."""
        return next(iter(self.values(form, name, ())), "") if self.form == form else otherwise

    def values(self, form: str, name: str, otherwise: Sequence[str]) -> Sequence[str]:
        """All that was chosen in fields of one name."""
        return self.typed.get(name, ()) if self.form == form else otherwise


NOT_REFUSED = Refused()


async def refusal_of(request: Request, form: str, error: InventoryError | Refusal) -> Refused:
    """Why a form is refused, with what was typed in it.

    Args:
        request: with the form.
        form: which of the page.
        error: says why.
    """
    typed: dict[str, list[str]] = {}
    for name, value in (await request.form()).multi_items():
        if isinstance(value, str) and name not in _NEVER_SHOWN:
            typed.setdefault(name, []).append(value)
    return Refused(form, str(error), status_of(error), typed)
