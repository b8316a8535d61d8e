"""The JSON of an exported program, checked against torch's own schema before torch sees it.

torch turns names of the document into Python source, sizes into `eval`, and classes of its trees
into imports, without looking at them. So the document is walked by the types of the schema, and
every text in it must be of a known kind; a text that no rule knows is refused.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import keyword
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin

from torch._export.serde import schema
from torch._export.serde.union import _Union

from sfbench_exported.archive import parsed
from sfbench_exported.expressions import SYMBOL, check_expression
from sfbench_exported.operators import check_operator
from sfbench_exported.refusal import RefusedError, need

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
QUALIFIED = re.compile(r"(?!__)[A-Za-z0-9_\-]{1,128}(\.(?!__)[A-Za-z0-9_\-]{1,128}){0,31}")
RESERVED = frozenset(
    {
        "NoneType", "complex", "device", "forward", "fx_pytree", "getattr", "inf", "nan", "pytree",
        "self", "slice", "torch", "wrap",
    }
)  # fmt: skip
"""Names that torch's generated source uses itself."""
PAYLOAD = re.compile(r"(weight|tensor)_\d{1,7}")
KEY = re.compile(r"[\w.\-]{1,128}", re.ASCII)
MAJOR = 8
LARGEST = 1 << 63
DEEPEST, DEEPEST_TREE = 64, 32
LONGEST_TEXT, LONGEST_TREE = 4096, 1 << 20
SPECIAL_FLOATS = ("Infinity", "-Infinity", "NaN")
PAIR = 2
Place = tuple[str, str]


def is_name(text: Any) -> bool:
    """Return whether a text is an identifier that means nothing in generated source."""
    return (
        isinstance(text, str)
        and NAME.fullmatch(text) is not None
        and not keyword.iskeyword(text)
        and text not in RESERVED
        and not text.startswith("__")
    )


def is_argument(text: Any) -> bool:
    """Return whether a text is the name of an operator's argument, or empty."""
    return text == "" or (
        isinstance(text, str) and NAME.fullmatch(text) is not None and not text.startswith("__")
    )


def is_qualified(text: Any) -> bool:
    """Return whether a text is the dotted name of a weight."""
    return isinstance(text, str) and QUALIFIED.fullmatch(text) is not None


def is_short(text: Any) -> bool:
    """Return whether a text is of bounded length; torch quotes it wherever it uses it."""
    return isinstance(text, str) and len(text) <= LONGEST_TEXT


def is_tree(text: Any) -> bool:
    """Return whether a text has a tree's length; `check_tree` reads it."""
    return isinstance(text, str) and len(text) <= LONGEST_TREE


def is_symbol(text: Any) -> bool:
    """Return whether a text is the name of a size."""
    return isinstance(text, str) and SYMBOL.fullmatch(text) is not None


def accepted(check: Callable[[object], None]) -> Callable[[Any], bool]:
    """Return a check that raises as one that says yes or no; its own complaint is kept."""

    def rule(text: Any) -> bool:
        check(text)
        return True

    return rule


TEXTS: Mapping[Place, Callable[[Any], bool]] = {
    ("Argument", "as_string"): is_short,
    ("Argument", "as_strings"): is_short,
    ("BufferMutationSpec", "buffer_name"): is_qualified,
    ("ConstantValue", "as_string"): is_short,
    ("Device", "type"): is_name,
    ("ExportedProgram", "torch_version"): is_short,
    ("ExportedProgram", "verifiers"): lambda text: text in {"ATEN", "TRAINING"},
    ("GraphArgument", "name"): is_name,
    ("InputToBufferSpec", "buffer_name"): is_qualified,
    ("InputToConstantInputSpec", "name"): is_name,
    ("InputToParameterSpec", "parameter_name"): is_qualified,
    ("InputToTensorConstantSpec", "tensor_constant_name"): is_qualified,
    ("ModuleCallEntry", "fqn"): lambda text: text == "",
    ("ModuleCallSignature", "forward_arg_names"): is_name,
    ("ModuleCallSignature", "in_spec"): is_tree,
    ("ModuleCallSignature", "out_spec"): is_tree,
    ("NamedArgument", "name"): is_argument,
    ("Node", "name"): is_name,
    ("Node", "target"): accepted(check_operator),
    ("ParameterMutationSpec", "parameter_name"): is_qualified,
    ("PayloadMeta", "path_name"): lambda text: PAYLOAD.fullmatch(str(text)) is not None,
    ("SymBoolArgument", "as_name"): is_name,
    ("SymExpr", "expr_str"): accepted(check_expression),
    ("SymFloatArgument", "as_name"): is_name,
    ("SymIntArgument", "as_name"): is_name,
    ("TensorArgument", "name"): is_name,
    ("UserInputMutationSpec", "user_input_name"): is_name,
}
"""What a text may be, by the class and field in which it stands."""
KEYS: Mapping[Place, Callable[[Any], bool]] = {
    ("ExportedProgram", "range_constraints"): is_symbol,
    ("Graph", "sym_bool_values"): is_name,
    ("Graph", "sym_float_values"): is_name,
    ("Graph", "sym_int_values"): is_name,
    ("Graph", "tensor_values"): is_name,
    ("PayloadConfig", "config"): is_qualified,
}
"""What a key may be; objects of any other field must be empty."""
REFUSED = frozenset(
    {
        ("Argument", "as_custom_obj"),
        ("Argument", "as_operator"),
        ("Argument", "as_string_to_argument"),
        ("InputSpec", "custom_obj"),
        ("InputSpec", "token"),
        ("OutputSpec", "gradient_to_parameter"),
        ("OutputSpec", "gradient_to_user_input"),
        ("OutputSpec", "loss_output"),
        ("OutputSpec", "token"),
    }
)
"""Members of unions that hold objects, or that no generator of images has."""


def checked_program(document: Any) -> dict[str, Any]:
    """Return the program without what only decorates it; raises RefusedError for a doubtful one.

    Taken out: notes of tracing, guards (source code), the signatures of inner modules.
    """
    try:
        version = document["schema_version"]
        known = version["major"] == MAJOR and version["minor"] <= schema.SCHEMA_VERSION[1]
        need(known, f"its schema is {version}; this torch reads up to {schema.SCHEMA_VERSION}")
        module = document["graph_module"]
        plain_graph(module["graph"], 0)
        calls = module["module_call_graph"]
        need(calls[0]["fqn"] == "" and calls[0].get("signature"), "its signature is missing")
        signature = calls[0]["signature"]
        into, out = (
            checked_tree(signature["in_spec"]),
            checked_tree(signature["out_spec"], out=True),
        )
        check_call(into)
        signature |= {
            "in_spec": json.dumps(into), "out_spec": json.dumps(out), "inputs": [], "outputs": [],
        }  # fmt: skip
        module |= {"metadata": {}, "treespec_namedtuple_fields": {}, "module_call_graph": calls[:1]}
        program: dict[str, Any] = document | {"guards_code": [], "opset_version": {}}
        walk(schema.ExportedProgram, program, ("", ""), 0)
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        msg = f"its program is malformed ({type(error).__name__}: {error})"
        raise RefusedError(msg) from None
    return program


def plain_graph(graph: dict[str, Any], depth: int) -> None:
    """Take the notes of tracing out of a graph and of the graphs in it."""
    need(depth < DEEPEST, "its graphs are nested too deeply")
    need(not graph.get("custom_obj_values"), "it holds objects of custom classes")
    graph["custom_obj_values"] = {}
    for node in graph["nodes"]:
        node["metadata"] = {}
        for one in node["inputs"]:
            if "as_graph" in one["arg"]:
                plain_graph(one["arg"]["as_graph"]["graph"], depth + 1)


def checked_tree(text: Any, *, out: bool = False) -> Any:
    """Return a tree of tuples, lists and dicts; other classes of outputs become tuples."""
    need(is_tree(text), "its tree of arguments is no text")
    document = parsed(text)
    fits = isinstance(document, list) and len(document) == PAIR and document[0] == 1
    need(fits, "its tree of arguments has an unknown version")
    check_tree(document[1], 0, out=out)
    return document


def check_tree(node: dict[str, Any], depth: int, *, out: bool) -> None:
    """Raise RefusedError for a node of a class that would have to be imported."""
    need(depth < DEEPEST_TREE, "its tree of arguments is too deep")
    need(set(node) == {"type", "context", "children_spec"}, "its tree of arguments is malformed")
    kind, context, children = node["type"], node["context"], node["children_spec"]
    match kind:
        case None:
            need(context is None and not children, "its tree of arguments is malformed")
        case "builtins.tuple" | "builtins.list":
            need(context == "null", "its tree of arguments is malformed")
        case "builtins.dict" | "collections.OrderedDict":
            keys = parsed(context)
            plain = all(isinstance(key, str) and KEY.fullmatch(key) for key in keys)
            need(plain and len(set(keys)) == len(children), "its tree of arguments is malformed")
        case _:
            need(out, f"an argument is a {kind!r:.60}, which would have to be imported")
            node |= {"type": "builtins.tuple", "context": "null"}
    for child in children:
        check_tree(child, depth + 1, out=out)


def check_call(tree: Any) -> None:
    """Raise RefusedError unless a tree is that of a call: positional arguments, and named ones."""
    top = tree[1]
    kinds = [child["type"] for child in top["children_spec"]]
    fits = top["type"] == "builtins.tuple" and kinds == ["builtins.tuple", "builtins.dict"]
    need(fits, "its arguments are not those of a call")
    for key in json.loads(top["children_spec"][1]["context"]):
        need(is_name(key), f"argument {key!r:.60} has a doubtful name")


@functools.cache
def fields_of(kind: type) -> Mapping[str, Any]:
    """Return the types of a schema class's fields."""
    return typing.get_type_hints(kind, globalns=vars(schema), include_extras=True)


def walk(kind: Any, value: Any, place: Place, depth: int) -> None:  # noqa: PLR0911  # one a type
    """Raise RefusedError where a value is not of the schema's type, or a text breaks its rule."""
    need(depth < DEEPEST, "its program is nested too deeply")
    if isinstance(kind, str | typing.ForwardRef):
        name = kind if isinstance(kind, str) else kind.__forward_arg__
        return walk(getattr(schema, name), value, place, depth)
    where = ".".join(place)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return walk(arguments[0], value, place, depth)
    if origin in {typing.Union, types.UnionType}:
        return None if value is None else walk(arguments[0], value, place, depth)
    if origin is list:
        need(isinstance(value, list), f"{where} is no list")
        for one in value:
            walk(arguments[0], one, place, depth + 1)
        return None
    if origin is dict:
        need(isinstance(value, dict), f"{where} is no object")
        rule = KEYS.get(place, lambda _: False)
        for key, one in value.items():
            need(rule(key), f"{where} has the doubtful key {key!r:.60}")
            walk(arguments[1], one, place, depth + 1)
        return None
    if dataclasses.is_dataclass(kind):
        return walk_class(kind if isinstance(kind, type) else type(kind), value, depth)
    return check_value(kind, value, place)


def walk_class(kind: type, value: Any, depth: int) -> None:
    """Raise RefusedError where an object does not fit a class of the schema."""
    need(isinstance(value, dict), f"a {kind.__name__} is no object")
    hints = fields_of(kind)
    strange = sorted(set(value) - set(hints))
    need(not strange, f"a {kind.__name__} has the unknown field {strange[:1]}")
    if issubclass(kind, _Union):
        need(len(value) == 1, f"a {kind.__name__} has {len(value)} members")
    for name, one in value.items():
        need((kind.__name__, name) not in REFUSED, f"it holds {name}, which is refused")
        walk(hints[name], one, (kind.__name__, name), depth + 1)
    missing = dataclasses.MISSING
    declared: Any = kind
    for field in dataclasses.fields(declared) if not issubclass(kind, _Union) else ():
        given = field.name in value or not (
            field.default is missing and field.default_factory is missing
        )
        need(given, f"a {kind.__name__} lacks {field.name}")


def check_value(kind: Any, value: Any, place: Place) -> None:
    """Raise RefusedError for a plain value of another type, or a text that breaks its rule."""
    where = ".".join(place)
    if isinstance(kind, type) and issubclass(kind, enum.IntEnum):
        known = type(value) is int and value in {int(one) for one in kind} - {0}
        need(known, f"{where} is no {kind.__name__}")
    elif kind is bool:
        need(type(value) is bool, f"{where} is neither true nor false")
    elif kind is int:
        need(type(value) is int and -LARGEST <= value < LARGEST, f"{where} is no whole number")
    elif kind is float:
        need(type(value) in {int, float} or value in SPECIAL_FLOATS, f"{where} is no number")
    elif kind is str:
        rule = TEXTS.get(place)
        need(rule is not None and rule(value), f"{where} is the doubtful text {value!r:.60}")
    else:
        need(condition=False, complaint=f"{where} is of an unknown kind")
