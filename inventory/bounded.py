"""What an operator's expression may call, with a bound on what each of it can make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sized
from functools import wraps
from itertools import islice
from typing import Any

from jinja2 import filters, pass_eval_context
from jinja2.nodes import EvalContext

__all__ = ["FILTERS", "METHODS", "require_bounded_call", "require_bounded_operation"]

_LONGEST = 2_000
"""Characters of a text, and parts of a list, that an expression makes."""
_MOST_PARTS = 10_000
"""Of a list, a text or facts, that an expression goes through."""
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
        *("abs", "capitalize", "count", "d", "default", "first", "float", "int", "items", "last"),
        *("length", "lower", "max", "min", "string", "title", "trim", "upper"),
    )
)
_GOING_THROUGH = frozenset(
    (
        *("dictsort", "list", "map", "reject", "rejectattr", "reverse", "select", "selectattr"),
        *("sort", "unique"),
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
    if attribute is not None:
        value = map(filters.make_attrgetter(context.environment, attribute), value)
    parts: list[str] = []
    size = 0
    for part in value:
        parts.append(str(part))
        size += len(parts[-1]) + len(str(d))
        _require(size)
    return str(d).join(parts)


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


def _going_through(name: str) -> Callable[..., Any]:
    """One of Jinja2's filters that goes through all parts of a value, for values of not too many.

    None of them goes through what its parts are in turn: lists of lists of lists would be large.
    """
    inner = filters.FILTERS[name]
    at = 1 if hasattr(inner, "jinja_pass_arg") else 0

    @wraps(inner)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        if isinstance(args[at], Sized) and len(args[at]) > _MOST_PARTS:
            raise TooMuch(f"it goes through more than {_MOST_PARTS} parts")
        if _GOING_THROUGH.intersection(one for one in args[at + 1 :] if isinstance(one, str)):
            raise TooMuch("it goes through the parts of parts")
        return inner(*args, **kwargs)

    return bounded


FILTERS: dict[str, Callable[..., Any]] = {
    **{name: filters.FILTERS[name] for name in _OF_JINJA},
    **{name: _going_through(name) for name in _GOING_THROUGH},
    "format": _format,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "sum": _sum,
}
"""What may stand behind ``|``."""
