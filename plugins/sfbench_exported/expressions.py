"""Sizes as expressions: torch hands their text to `eval`, so only sympy's own words may stand there."""

from __future__ import annotations

import ast
import re

from sfbench_exported.refusal import RefusedError, need

SYMBOL = re.compile(r"(s|u|zf|zuf)\d{1,6}")
FUNCTIONS = frozenset(
    {
        "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Equality", "ExprCondPair", "FloatTrueDiv",
        "FloorDiv", "FloorToInt", "GreaterThan", "Identity", "IntTrueDiv", "LessThan", "Max", "Min",
        "Mod", "ModularIndexing", "Mul", "Not", "Or", "Piecewise", "PythonMod", "RoundToInt",
        "StrictGreaterThan", "StrictLessThan", "ToFloat", "TruncToFloat", "TruncToInt", "Unequality",
        "Where",
    }
)  # fmt: skip
NUMBERS = frozenset({"Integer", "Rational"})
POWERS = frozenset({"Pow", "PowByNatural"})
ASSUMPTIONS = frozenset(
    {
        "extended_real", "finite", "integer", "negative", "nonnegative", "nonpositive", "nonzero",
        "positive", "real", "zero",
    }
)  # fmt: skip
LONGEST, DEEPEST, MOST_ARGUMENTS = 8192, 64, 64
LARGEST_EXPONENT = 8
PAIR = 2
LARGEST = 1 << 63


def check_expression(text: object) -> None:
    """Raise RefusedError unless a text is an expression of sizes as sympy writes them."""
    need(isinstance(text, str) and len(text) <= LONGEST, "a size is no expression")
    plain = str(text)
    need(plain.isascii() and plain.isprintable(), "a size is no expression")
    try:
        tree = ast.parse(plain, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        msg = f"a size is no expression: {plain[:60]!r}"
        raise RefusedError(msg) from None
    check_node(tree, 0, raised=False)


def check_node(node: ast.expr, depth: int, *, raised: bool) -> None:
    """Raise RefusedError for a part that is neither number, symbol nor known function.

    `raised`: whether it stands below a power, where another would make huge numbers.
    """
    need(depth < DEEPEST, "a size is nested too deeply")
    if is_whole(node):
        return
    if isinstance(node, ast.Name):
        need(node.id in {"true", "false"}, f"a size names {node.id!r}")
        return
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        msg = "a size holds more than numbers, symbols and functions"
        raise RefusedError(msg)
    name = node.func.id
    if name == "Symbol":
        check_symbol(node)
        return
    need(not node.keywords and len(node.args) <= MOST_ARGUMENTS, f"a size calls {name} oddly")
    if name in NUMBERS:
        need(node.args and all(map(is_whole, node.args)), f"a size holds no number in {name}")
        return
    if name in POWERS:
        need(not raised and len(node.args) == PAIR, "a size holds a power of a power")
        check_exponent(node.args[1])
        check_node(node.args[0], depth + 1, raised=True)
        return
    need(name in FUNCTIONS, f"a size calls {name!r}")
    for argument in node.args:
        check_node(argument, depth + 1, raised=raised)


def is_whole(node: ast.expr) -> bool:
    """Return whether a part is a whole number of at most 63 bits."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value < LARGEST


def check_symbol(node: ast.Call) -> None:
    """Raise RefusedError unless a call is Symbol('s0', integer=True) or the like."""
    (first, *more) = node.args or [ast.Constant(value=None)]
    name = first.value if isinstance(first, ast.Constant) else None
    need(
        not more and isinstance(name, str) and SYMBOL.fullmatch(name), "a size has a strange symbol"
    )
    for keyword in node.keywords:
        plain = isinstance(keyword.value, ast.Constant) and type(keyword.value.value) is bool
        need(keyword.arg in ASSUMPTIONS and plain, f"a size assumes {keyword.arg!r}")


def check_exponent(node: ast.expr) -> None:
    """Raise RefusedError unless an exponent is a small number."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Integer":
        need(len(node.args) == 1 and not node.keywords, "a size has a strange exponent")
        node = node.args[0]
    small = is_whole(node) and abs(ast.literal_eval(node)) <= LARGEST_EXPONENT
    need(small, "a size has a strange exponent")
