"""What an operator's expression may call, with a bound on what each of it can make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from jinja2 import filters, pass_eval_context
from jinja2.nodes import EvalContext

__all__ = ["FILTERS", "METHODS", "require_bounded_call", "require_bounded_operation"]

_LONGEST = 10_000
"""Characters of a text, and parts of a list, that an expression makes."""
_MOST_BITS = 256
"""Of a whole number that it computes."""
_LONGEST_FORMAT = 200
_ROUND_MOST = 15

_OF_TEXTS = frozenset(
    (
        *("capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha"),
        *("isdigit", "islower", "isnumeric", "isupper", "lower", "lstrip", "partition"),
        *("removeprefix", "removesuffix", "replace", "rfind", "rpartition", "rsplit", "rstrip"),
        *("split", "startswith", "strip", "swapcase", "title", "upper", "zfill"),
    )
)
_OF_JINJA = frozenset(
    (
        *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int"),
        *("items", "last", "length", "list", "lower", "map", "max", "min", "reject"),
        *("rejectattr", "reverse", "select", "selectattr", "sort", "string", "title", "trim"),
        *("unique", "upper"),
    )
)
METHODS: tuple[tuple[type, frozenset[str]], ...] = (
    (
        str,
        _OF_TEXTS,
    ),
    (Mapping, frozenset({"get", "items", "keys", "values"})),
    (list, frozenset({"count", "index"})),
    (tuple, frozenset({"count", "index"})),
    (float, frozenset({"is_integer"})),
)
"""What may be called of which kind of value; the first kind that fits counts."""


class TooMuch(ValueError):
    """An expression would make more than it may."""


def _require(size: int) -> None:
    if size > _LONGEST:
        raise TooMuch(f"it makes more than {_LONGEST} characters or parts")


def require_bounded_operation(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be large.

    Raises:
        TooMuch: it would.
    """
    match operator, left, right:
        case "*", int(), int():
            _require_bits(left.bit_length() + right.bit_length())
        case "**", int(), int():
            _require_bits(left.bit_length() * max(right, 0))
        case "*", (str() | list() | tuple()), int():
            _require(len(left) * right)
        case "*", int(), (str() | list() | tuple()):
            _require(left * len(right))
        case "+", (str() | list() | tuple()), (str() | list() | tuple()):
            _require(len(left) + len(right))
        case "%", str(), _:
            _require_format(left)


def _require_bits(bits: int) -> None:
    if bits > _MOST_BITS:
        raise TooMuch(f"it makes a number of more than {_MOST_BITS} bits")


def _require_format(text: str) -> None:
    if len(text) > _LONGEST_FORMAT or "*" in text or re.search(r"\d{4}", text):
        raise TooMuch("a format is short, and no field in it wider than 999")


def require_bounded_call(called: Any, args: tuple[Any, ...]) -> None:
    """Refuse a call of a text's method whose result would be large.

    Raises:
        TooMuch: it would.
    """
    owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
    if not isinstance(owner, str):
        return
    if name == "replace" and len(args) > 1:
        _require_replaced(owner, str(args[0]), str(args[1]))
    if name == "zfill" and args and isinstance(args[0], int):
        _require(args[0])


def _require_replaced(text: str, old: str, new: str) -> None:
    # Removing is never too much, also from a fact that is long itself.
    if len(new) > len(old):
        _require(len(text) + text.count(old) * (len(new) - len(old)))


@pass_eval_context
def _replace(context: EvalContext, value: Any, old: str, new: str, count: int = -1) -> str:
    """Replace parts of a text."""
    text, old, new = str(value), str(old), str(new)
    _require_replaced(text, old, new)
    return text.replace(old, new, count)


@pass_eval_context
def _join(
    context: EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None
) -> str:
    """Put the parts of a list together."""
    parts = list(islice(value, _LONGEST + 1))
    _require(len(parts) * max(len(str(d)), 1))
    joined: str = filters.do_join(context, parts, str(d), attribute)
    return joined


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    """Fill in a format such as ``%02d``."""
    _require_format(str(value))
    return filters.do_format(str(value), *args, **kwargs)


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    """Round a number."""
    if abs(precision) > _ROUND_MOST:
        raise TooMuch(f"a number is rounded to {_ROUND_MOST} places at most")
    return filters.do_round(value, precision, method)


def _sum(value: Iterable[float]) -> float:
    """Add numbers up."""
    return sum(one for one in islice(value, _LONGEST) if isinstance(one, int | float))


FILTERS: dict[str, Callable[..., Any]] = {
    **{name: filters.FILTERS[name] for name in _OF_JINJA},
    "format": _format,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "sum": _sum,
}
"""What may stand behind ``|``."""
