"""Units, and that nothing an operator writes takes long."""

from __future__ import annotations

import time

import pytest

from inventory.expressions import ExpressionError, condition, looked_at, names_in, template

LONG = "x" * 1_900
HUGE = "x" * 1_000_000
"""As a fact may be."""


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("64 GiB", 64 * 2**30),
        ("64GiB", 64 * 2**30),
        ("400 GB", 400 * 10**9),
        ("1.5 TiB", 3 * 2**39),
        ("0.1 TB", 10**11),
        ("2 kB", 2000),
        ("2 KB", 2000),
        ("2 KiB + 1 B", 2049),
        ("-1 MiB", -(2**20)),
        ("[1 MB, 2][0]", 10**6),
        ("64 if true else 1", 64),
        ("64 in [64] and 1 or 2", 1),
        ("'64 GiB'", "64 GiB"),
        ("1_000 MB", 10**9),
    ],
)
def test_a_number_with_a_unit_is_a_number_of_bytes(source: str, value: object) -> None:
    assert condition(source)() == value


@pytest.mark.parametrize("source", ["64 gib", "64 Gib", "64 G", "2 GHz", "1 2 GiB", "GiB 1"])
def test_what_is_no_unit_is_told(source: str) -> None:
    with pytest.raises(ExpressionError):
        condition(source)


def test_a_unit_that_is_none_is_told_with_those_that_are() -> None:
    with pytest.raises(ExpressionError, match=r"'gib' behind a number is no unit; units are B, "):
        condition("memory > 64 gib")


RUNAWAY = [
    "'a' * 10**9",
    "10**9 * 'a'",
    "[1] * 10**8",
    "'a' * 9999 * 9999",
    "9**9**9**9",
    "2**1000000000",
    "(2**200)**(2**200)",
    "(2**200) * (2**200) * 1",
    "range(10**9) | list",
    "'%1000000000d' % 1",
    "'%*d' % (1000000000, 1)",
    "'%1000000000d' | format(1)",
    "'{:1000000000}'.format(1)",
    "'{:1000000000}'['format'](1)",
    "'a'.ljust(10**9)",
    "'a'.zfill(10**9)",
    "'a' | center(10**9)",
    "'a' | indent(10**9)",
    "[1] | batch(10**9, 1) | list",
    "1 | round(10**9, 'ceil')",
    "(1).to_bytes(10**9)",
    "lipsum(n=10**6)",
    "long | replace('x', long) | replace('x', long)",
    "long.replace('x', long)",
    "long | list | join(long)",
    "long.join(long)",
    "long + long",
    "'a'.join(['b'] * 10**9)",
    "huge | list",
    "huge | sort | map('replace', 'x', long) | list",
    "huge | map('replace', 'x', long) | join",
    "huge | join('-')",
    "huge | replace('x', 'yy')",
    "huge.split('x') | map('replace', '', long) | list",
    "[long] * 1900 | map('map', 'replace', 'x', long) | map('list') | list | string",
    "[long | list] * 1900 | map('join', long) | list",
    "namespace(a=1)",
    "[[1]] | map('batch', 10**9) | list",
]


@pytest.mark.parametrize("source", RUNAWAY)
def test_what_would_run_away_is_refused_at_once(source: str) -> None:
    began = time.process_time()
    with pytest.raises(Exception, match=r".") as refused:
        condition(source)(long=LONG, huge=HUGE)
    assert time.process_time() - began < 0.5
    assert not isinstance(refused.value, MemoryError)


@pytest.mark.parametrize(
    "source", ["(" * 900 + "1" + ")" * 900, "not " * 450 + "1", "-" * 1900 + "1", "1 +" * 600 + "1"]
)
def test_deep_nesting_is_an_error_or_a_value_and_no_crash(source: str) -> None:
    try:
        assert condition(source)() is not None
    except ExpressionError as error:
        assert "too deeply nested" in str(error)  # noqa: PT017


def test_a_long_source_is_refused() -> None:
    with pytest.raises(ExpressionError, match="longer than 2000"):
        condition("1" * 2001)
    with pytest.raises(ExpressionError, match="empty"):
        condition("  ")


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in 'aaaa' %}b{% endfor %}",
        "{% set a = 'a' %}{{ a }}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% if true %}{% for a in [1] %}{% endfor %}{% endif %}",
        "{% include 'x' %}",
    ],
)
def test_a_template_fills_in_and_chooses_and_no_more(source: str) -> None:
    with pytest.raises(ExpressionError, match=r"only \{\{ … \}\} and \{% if … %\}"):
        template(source)


def test_a_template_may_choose() -> None:
    source = "{% if memory >= 1 GiB %}big{% else %}small{% endif %}-{{ '%02d' | format(n) }}"
    assert template(source).render(memory=2**31, n=3) == "big-03"
    assert names_in(source, is_template=True) == {"memory", "n"}


def test_what_a_condition_looks_at_is_known() -> None:
    source = "memory > 1 GiB and facts.a.b == facts['c'] and memory and facts | length > 1"
    assert looked_at(source) == [("memory",), ("facts", "a", "b"), ("facts", "c"), ("facts",)]
    assert names_in(source) == {"memory", "facts"}
    assert names_in("vendor") == {"vendor"}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("disks | map(attribute='size') | sum", 3),
        ("disks | selectattr('size', 'gt', 1) | list | length", 1),
        ("disks | map(attribute='size') | map('string') | join('-')", "1-2"),
        ("disks | join(',', attribute='size')", "1,2"),
        ("names.split(',') | sort | first", "a"),
        ("names | replace(',', '')", "ba"),
        ("names.replace(',', '-').upper()", "B-A"),
        ("'%s-%02d' | format(names, 7)", "b,a-07"),
        ("'x' * 3 ~ 2 ** 10", "xxx1024"),
        ("2.567 | round(1)", 2.6),
        ("facts.items() | list", [("a", 1)]),
        ("huge | replace('x', '')", ""),
        ("huge | length", 1_000_000),
    ],
)
def test_what_people_write_is_computed(source: str, value: object) -> None:
    disks = [{"size": 1}, {"size": 2}]
    assert condition(source)(disks=disks, names="b,a", facts={"a": 1}, huge=HUGE) == value
