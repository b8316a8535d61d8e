"""Reading pickles as data: a parser whose result is a tree of inert values. Nothing is called.

Python's own unpickler builds a file's objects while it reads; an allow-list of names does not help
against arguments that do the harm. This parser resolves no name at all. Its grammar:

    value     = None | bool | int | float | str | bytes | tuple | list | dict | set
              | Global          a name, kept as two strings; the caller says which may occur
              | Object          a Global that the file would call with a tuple of arguments, with
                                the items and the state that the file would set on the result
              | Reference       a persistent identifier, where the caller expects them
    key       = str | bytes | int below 2^60 | bool | None    of dictionaries, sets and items

Extension codes, out-of-band buffers, instances of protocol 0 and keyword arguments are refused. A
file has at most `OPCODES` instructions, its integers `INTEGER_BYTES` bytes. The tree takes at most
`MEMORY_FACTOR` bytes for each byte of the file.
"""

from __future__ import annotations

import dataclasses
import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

OPCODES = 4_000_000
INTEGER_BYTES = 64
MEMORY_FACTOR = 256

CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
INTEGERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"})
LITERALS = INTEGERS | {
    "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
KEYS = (str, bytes, int, type(None))
LARGEST_KEY = 1 << 60
"""Larger integers can be chosen so that all have one hash."""


class PickleError(ValueError):
    """A pickle that is damaged, or uses more than its kind of file needs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Global:
    """A name that the file refers to; it stays a name."""

    module: str
    name: str

    def __str__(self) -> str:
        """Return the dotted name, printable whatever the file says."""
        name = f"{self.module}.{self.name}"
        return name if name.isprintable() else ascii(name)


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """A reference to something outside the pickle."""

    identifier: Any


@dataclasses.dataclass(slots=True, eq=False)
class Object:
    """What the file would make: `made_by(*arguments)`, then given `items` and `state`."""

    made_by: Global
    arguments: tuple[Any, ...]
    items: dict[Any, Any] | None = None
    state: Any = None
    has_state: bool = False


UNREADABLE = (
    ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, RecursionError,
)  # fmt: skip
Allowed = Callable[[Global], bool]


def parse_pickle(
    file: BinaryIO, allowed: Allowed, *, purpose: str, references: list[Reference] | None = None
) -> Any:
    """Return the tree of the pickle that begins where `file` stands, and leave `file` behind it.

    `allowed` says which names may occur, `purpose` what such files are called in messages;
    references are refused, or appended to the list. Raises PickleError in one line.
    """
    parser = Parser(allowed, purpose=purpose, references=references)
    try:
        return parser.run(pickletools.genops(Bounded(file)))  # type: ignore[arg-type]  # read, readline, tell
    except PickleError:
        raise
    except UNREADABLE as error:
        lines = str(error).strip().splitlines() or ["truncated"]
        msg = f"it is not a readable pickle ({type(error).__name__}: {lines[0][:200]})"
        raise PickleError(msg) from None


class Bounded:
    """A file that is never read beyond its end: a length in a file is only a claim."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        start = file.tell()
        self.end = file.seek(0, 2)
        file.seek(start)

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most those that are there."""
        return self.file.read(min(count, self.end - self.file.tell()))

    def readline(self) -> bytes:
        """Return the rest of a line."""
        return self.file.readline()

    def tell(self) -> int:
        """Return the place in the file."""
        return self.file.tell()


class Parser:
    """The stack machine of pickles, with inert values."""

    def __init__(
        self, allowed: Allowed, *, purpose: str, references: list[Reference] | None
    ) -> None:
        self.allowed = allowed
        self.purpose = purpose
        self.references = references
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.encoded: dict[int, tuple[str, bytes]] = {}

    def run(self, operations: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Any:
        """Execute the instructions and return the value on top of the stack at the end."""
        for count, (opcode, argument, _) in enumerate(operations):
            if count == OPCODES:
                msg = f"it has more than {OPCODES:,} instructions; no {self.purpose} does"
                raise PickleError(msg)
            name = opcode.name
            if name in LITERALS:
                self.stack.append(self.literal(name, argument))
            elif name in CONSTANTS:
                self.stack.append(CONSTANTS[name])
            elif name not in {"PROTO", "FRAME", "STOP"}:
                self.step(name, argument)
        return self.pop()

    def literal(self, name: str, value: Any) -> Any:
        """Return a number or text; raises PickleError for an implausibly large integer."""
        if name in INTEGERS and value.bit_length() > 8 * INTEGER_BYTES:
            msg = f"it holds an integer of {value.bit_length()} bits; no {self.purpose} does"
            raise PickleError(msg)
        return value

    def step(self, name: str, argument: Any) -> None:  # noqa: C901, PLR0912, PLR0915  # a table of instructions
        """Execute one instruction that is not a literal."""
        push = self.stack.append
        match name:
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[self.place(argument)] = self.top()
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.top()
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "MARK":
                self.marks.append(len(self.stack))
            case "EMPTY_TUPLE":
                push(())
            case "EMPTY_LIST":
                push([])
            case "EMPTY_DICT":
                push({})
            case "EMPTY_SET":
                push(set())
            case "TUPLE":
                push(tuple(self.pop_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                parts = [self.pop() for _ in range(int(name[-1]))]
                push(tuple(reversed(parts)))
            case "LIST":
                push(self.pop_mark())
            case "DICT":
                push(pairs(self.pop_mark()))
            case "FROZENSET":
                push({key_of(value) for value in self.pop_mark()})
            case "APPEND":
                value = self.pop()
                self.a_list().append(value)
            case "APPENDS":
                values = self.pop_mark()
                self.a_list().extend(values)
            case "SETITEM":
                value, key = self.pop(), self.pop()
                self.a_mapping()[key_of(key)] = value
            case "SETITEMS":
                items = self.pop_mark()
                self.a_mapping().update(pairs(items))
            case "ADDITEMS":
                values = self.pop_mark()
                self.a_set().update(key_of(value) for value in values)
            case "POP":
                self.pop()
            case "POP_MARK":
                self.pop_mark()
            case "GLOBAL":
                push(self.named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = self.pop(), self.pop()
                push(self.named(module, attribute))
            case "REDUCE" | "NEWOBJ":
                arguments = self.pop()
                push(self.called(self.pop(), arguments))
            case "BUILD":
                state = self.pop()
                self.set_state(self.top(), state)
            case "PERSID" | "BINPERSID":
                push(self.reference(argument if name == "PERSID" else self.pop()))
            case _:
                msg = f"it uses the instruction {name}, which no {self.purpose} needs: refused"
                raise PickleError(msg)

    def place(self, number: int) -> int:
        """Return a memo index; raises PickleError for one that no writer would use."""
        if not 0 <= number < OPCODES:
            msg = f"it keeps a value at place {str(number)[:40]}; no {self.purpose} does"
            raise PickleError(msg)
        return number

    def pop(self) -> Any:
        """Return and remove the top of the stack, above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            msg = "the stack is empty"
            raise IndexError(msg)
        return self.stack.pop()

    def top(self) -> Any:
        """Return the top of the stack."""
        value = self.pop()
        self.stack.append(value)
        return value

    def pop_mark(self) -> list[Any]:
        """Return and remove everything above the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def a_list(self) -> list[Any]:
        """Return the list on top of the stack."""
        value = self.top()
        if type(value) is not list:
            msg = f"it appends to a {type(value).__name__}"
            raise TypeError(msg)
        return value

    def a_set(self) -> set[Any]:
        """Return the set on top of the stack."""
        value = self.top()
        if type(value) is not set:
            msg = f"it adds to a {type(value).__name__}"
            raise TypeError(msg)
        return value

    def a_mapping(self) -> dict[Any, Any]:
        """Return the dictionary on top of the stack, or the items of the object there."""
        value = self.top()
        if isinstance(value, Object):
            value.items = {} if value.items is None else value.items
            return value.items
        if type(value) is not dict:
            msg = f"it sets items of a {type(value).__name__}"
            raise TypeError(msg)
        return value

    def named(self, module: Any, name: Any) -> Global:
        """Return a name; raises PickleError for one that such files do not need."""
        if type(module) is not str or type(name) is not str:
            msg = f"it names a {type(module).__name__} and a {type(name).__name__}: refused"
            raise PickleError(msg)
        found = Global(module, name)
        if not self.allowed(found):
            msg = f"it needs {str(found)[:120]}, which no {self.purpose} needs: refused"
            raise PickleError(msg)
        return found

    def called(self, function: Any, arguments: Any) -> Any:
        """Return the object that a call would make."""
        if not isinstance(function, Global) or type(arguments) is not tuple:
            msg = f"it calls a {type(function).__name__}: refused"
            raise PickleError(msg)
        # How protocol 2 writes bytes.
        if function == Global("_codecs", "encode"):
            text, encoding = arguments
            if type(text) is str and encoding == "latin1":
                # Once per text, however often it is called: the text is kept, so its id is unique.
                if id(text) not in self.encoded:
                    self.encoded[id(text)] = text, text.encode("latin1")
                return self.encoded[id(text)][1]
        return Object(function, arguments)

    def set_state(self, value: Any, state: Any) -> None:
        """Keep the state of an object."""
        if not isinstance(value, Object):
            msg = f"it changes a {type(value).__name__}: refused"
            raise PickleError(msg)
        if value.has_state:
            msg = f"it changes a {value.made_by} after making it: refused"
            raise PickleError(msg)
        value.state, value.has_state = state, True

    def reference(self, identifier: Any) -> Reference:
        """Return a reference; raises PickleError if none is expected."""
        if self.references is None:
            msg = f"it refers to an object outside the file: no {self.purpose} does, refused"
            raise PickleError(msg)
        self.references.append(Reference(identifier))
        return self.references[-1]


def key_of(value: Any) -> Any:
    """Return a key; nested tuples are not allowed: hashing them recurses without a depth limit."""
    if not isinstance(value, KEYS) or (isinstance(value, int) and abs(value) >= LARGEST_KEY):
        msg = f"a key of type {type(value).__name__}"
        raise TypeError(msg)
    return value


def pairs(values: list[Any]) -> dict[Any, Any]:
    """Return alternating keys and values as a dictionary."""
    if len(values) % 2:
        msg = "a key without a value"
        raise ValueError(msg)
    return dict(zip(map(key_of, values[::2]), values[1::2], strict=True))


def entries(value: Object) -> dict[Any, Any]:
    """Return what is in a dictionary: what it was made from, and the items set later.

    Old Python pickled an OrderedDict as a list of pairs. Raises PickleError for a key that a
    dictionary of a file may not have.
    """
    first = value.arguments[-1] if value.arguments else None
    found = dict(first) if isinstance(first, dict) else {}
    try:
        for key, one in first if isinstance(first, list | tuple) else ():
            found[key_of(key)] = one
    except (TypeError, ValueError):
        msg = "a dictionary made from something other than pairs of a plain key and a value"
        raise PickleError(msg) from None
    return found | (value.items or {})
