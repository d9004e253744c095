"""Expressions that operators write over machines: Jinja2 in a sandbox, with units and with bounds.

``memory >= 64 GiB and vendor == "Dell Inc."``: a number with a unit is a number of bytes. What is
computed is short whatever is written: there are no loops, only the filters and methods below, and
nothing makes a long text or a large number of short ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.lexer import Token
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from inventory.bounded import FILTERS, METHODS, require_bounded_call, require_bounded_operation

__all__ = ["UNITS", "ExpressionError", "condition", "looked_at", "names_in", "template"]

UNITS: Mapping[str, int] = {
    **{unit: 1000**power for power, unit in enumerate(("B", "kB", "MB", "GB", "TB", "PB"))},
    **{unit: 1024**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB", "PiB"), 1)},
    "KB": 1000,
}
"""What may follow a number, and how many bytes it is."""

_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "if", "else", "recursive"})
_LONGEST_SOURCE = 2000


class ExpressionError(ValueError):
    """It is no expression that we take.

    Args:
        said: what is wrong.
        line: line in the expression, from 1, where that is known.
    """

    def __init__(self, said: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(said)


class _Units(Extension):
    """Multiplies a number by the unit that stands behind it, before anything is parsed."""

    def filter_stream(self, stream: Iterable[Token]) -> Iterator[Token]:
        number: Token | None = None
        for token in stream:
            if number is not None and token.type == "name" and token.value not in _KEYWORDS:
                yield number._replace(value=_multiplied(number.value, token))
                number = None
                continue
            if number is not None:
                yield number
            number = token if token.type in ("integer", "float") else None
            if number is None:
                yield token
        if number is not None:
            yield number


def _multiplied(number: Any, unit: Token) -> Any:
    factor = UNITS.get(unit.value)
    if factor is None:
        known = ", ".join(sorted(UNITS, key=lambda one: (UNITS[one], one)))
        said = f"{unit.value!r} behind a number is no unit; units are {known}"
        raise jinja2.TemplateSyntaxError(said, unit.lineno)
    product: float = number * factor
    return int(product) if product == product // 1 and abs(product) < 2**63 else product


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with what may take long or grow refused before it is done."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, undefined: type[jinja2.Undefined]) -> None:
        super().__init__(autoescape=False, undefined=undefined, extensions=[_Units])
        self.globals.clear()
        self.filters = dict(FILTERS)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        kinds = (names for kind, names in METHODS if isinstance(obj, kind))
        return attr in next(kinds, ()) and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Not wrapped, and so refused like every other method that is not listed."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        require_bounded_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        require_bounded_call(__obj, args)
        return super().call(__context, __obj, *args, **kwargs)


_conditions = _Environment(jinja2.Undefined)
_templates = _Environment(jinja2.StrictUndefined)


@lru_cache(maxsize=512)
def condition(source: str) -> Any:
    """Compile an expression; called with names it gives its value, or Jinja2's ``Undefined``.

    Raises:
        ExpressionError: it is none.
    """
    _require_short(source)
    try:
        return _conditions.compile_expression(source, undefined_to_none=False)
    except jinja2.TemplateSyntaxError as error:
        raise ExpressionError(str(error.message), error.lineno) from error
    except (SyntaxError, RecursionError, MemoryError, ValueError, OverflowError) as error:
        raise ExpressionError(f"it is too deeply nested, or no expression: {error}") from error


@lru_cache(maxsize=512)
def template(source: str) -> jinja2.Template:
    """Compile a template; a name that is not there makes its rendering fail.

    Raises:
        ExpressionError: it is none, or does more than fill in and choose.
    """
    _require_short(source)
    try:
        for one in _templates.parse(source).find_all(nodes.Stmt):
            if not isinstance(one, nodes.Output | nodes.If):
                said = "only {{ … }} and {% if … %} are understood here"
                raise ExpressionError(said, one.lineno)
        return _templates.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise ExpressionError(str(error.message), error.lineno) from error
    except (SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        raise ExpressionError(f"it is too deeply nested, or no template: {error}") from error


def _require_short(source: str) -> None:
    if len(source) > _LONGEST_SOURCE:
        raise ExpressionError(f"it is longer than {_LONGEST_SOURCE} characters")
    if not source.strip():
        raise ExpressionError("it is empty")


def names_in(source: str, *, is_template: bool = False) -> set[str]:
    """The names that a valid expression or template asks for, such as ``memory`` and ``facts``."""
    return {one.name for one in _parsed(source, is_template) if isinstance(one, nodes.Name)}


def looked_at(source: str) -> list[tuple[str, ...]]:
    """What a valid condition looks at, in its order: ``("memory",)``, ``("facts", "efi")``."""
    ways: dict[tuple[str, ...], None] = {}
    inner: set[int] = set()
    for one in _parsed(source, False):
        way, parts = _way(one)
        if way and id(one) not in inner:
            ways[way] = None
            inner |= {id(part) for part in parts}
    return list(ways)


def _parsed(source: str, is_template: bool) -> list[nodes.Node]:
    if is_template:
        return list(_templates.parse(source).find_all(nodes.Node))
    root = Parser(_conditions, source, state="variable").parse_expression()
    # find_all leaves the root itself out, and goes from the outside in.
    return [root, *root.find_all(nodes.Node)]


def _way(node: nodes.Node) -> tuple[tuple[str, ...], list[nodes.Node]]:
    """The names from a variable down to a node, and the nodes on the way; empty: it is no way."""
    if isinstance(node, nodes.Name):
        return (node.name,), [node]
    key: object = None
    if isinstance(node, nodes.Getattr):
        key = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        key = node.arg.value
    if key is None or not isinstance(node, nodes.Getattr | nodes.Getitem):
        return (), []
    way, parts = _way(node.node)
    return ((*way, str(key)), [node, *parts]) if way else ((), [])
