"""The modules and data files that code can reach by imports, and their digest.

Everything is derived from the source; nothing is imported and no list is maintained by hand.
Imports inside functions count; imports only for type checkers do not. A data file belongs to the
nearest package above it, and is reached with any module of that package. Comments, docstrings
and layout do not affect a digest.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from importlib import metadata
from pathlib import Path

INIT = "__init__"
NOT_DATA = frozenset({".py", ".pyc", ".pyi", ".typed", ".md"})


class UnknownModuleError(LookupError):
    """A named module is not in the source tree."""


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """One module: its file, the names it imports, and the digest of its syntax tree.

    `offers`: the names that a package resolves lazily (`__getattr__`) and where they are, taken
    from its block for type checkers.
    """

    path: Path
    imports: tuple[str, ...]
    offers: Mapping[str, str]
    digest: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reach:
    """What some modules can reach: modules and data files by name, and other packages they import."""

    modules: Mapping[str, Path]
    data: tuple[Path, ...]
    packages: frozenset[str]
    digest: str


class SourceTree:
    """Top-level packages and modules by name, each a folder or a file.

    The list of files is read once; their contents are read every time.
    """

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self.roots = dict(roots)
        self.places: dict[str, Path | None] = {}

    def file_of(self, name: str) -> Path | None:
        """Return the file of a module or package by its dotted name; None if there is none."""
        if name not in self.places:
            self.places[name] = self.found(name)
        return self.places[name]

    def found(self, name: str) -> Path | None:
        """Look for the file of a module or package."""
        first, *rest = name.split(".")
        root = self.roots.get(first)
        if root is None:
            return None
        if root.is_file():
            return root if not rest else None
        place = root.joinpath(*rest)
        if (place / f"{INIT}.py").is_file():
            return place / f"{INIT}.py"
        file = place.with_suffix(".py") if rest else place / f"{INIT}.py"
        return file if file.is_file() else None

    def reach(
        self,
        names: Iterable[str],
        leaves: Iterable[str] = (),
        known: Iterable[Path] = (),
    ) -> Reach:
        """Return what these modules can reach; what `leaves` import is not followed.

        Data files in `known` are left out: the caller accounts for them separately.
        Raises UnknownModuleError for a name that is not a module.
        """
        found: dict[str, Source] = {}
        imported_: set[str] = set(names)
        outside: set[str] = set()
        ends = set(leaves)
        waiting = [*names, *ends]
        for name in waiting:
            if self.file_of(name) is None:
                msg = f"{name} is not a module of {', '.join(self.roots)}"
                raise UnknownModuleError(msg)
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            path = self.file_of(name)
            if path is None:
                outside.add(name.partition(".")[0])
                continue
            found[name] = source = read_source(path, name, path.stat().st_mtime_ns)
            waiting += packages_above(name)
            if name not in ends:
                asked_for = [self.resolved(one) for one in source.imports]
                imported_ |= set(asked_for)
                waiting += asked_for
        data = tuple(sorted(set(self.data_files(found, imported_)) - set(known)))
        return Reach(
            modules={name: source.path for name, source in sorted(found.items())},
            data=data,
            packages=frozenset(outside - {""}),
            digest=self.digest(found, data),
        )

    def resolved(self, name: str) -> str:
        """Return the module that an imported name lies in: itself, or the package before it."""
        while self.file_of(name) is None and name.partition(".")[0] in self.roots and "." in name:
            package, _, last = name.rpartition(".")
            path = self.file_of(package)
            if path is not None:
                offered = read_source(path, package, path.stat().st_mtime_ns).offers.get(last)
                name = offered or package
            else:
                name = package
        return name

    def data_files(
        self, found: Mapping[str, Source], imported_: AbstractSet[str]
    ) -> Iterator[Path]:
        """Yield the data files of packages that were imported or have a reached module.

        A package that was imported only because of something below it does not count.
        """
        folders = {
            source.path.parent
            for name, source in found.items()
            if source.path.stem != INIT or name in imported_
        }
        for folder in sorted(folders):
            if (folder / f"{INIT}.py").is_file():
                yield from data_below(folder)

    def label(self, path: Path) -> str:
        """Return a data file's place below its root."""
        for root in self.roots.values():
            if root.is_dir() and path.is_relative_to(root):
                return path.relative_to(root.parent).as_posix()
        return path.name

    def digest(self, found: Mapping[str, Source], data: Iterable[Path]) -> str:
        """Return the digest of these modules and files."""
        sha = hashlib.sha256()
        # A file given by its path is called by its own name, wherever it lies.
        own = {name: p.stem if p.is_file() else name for name, p in self.roots.items()}
        for name, source in sorted((own.get(n, n), s) for n, s in found.items()):
            sha.update(f"{name}\0{source.digest}\n".encode())
        for path in data:
            label = self.label(path)
            sha.update(f"{label}\0{file_digest(path, path.stat().st_mtime_ns)}\n".encode())
        return sha.hexdigest()


def harness_tree() -> SourceTree:
    """Return the tree of this package."""
    folder = Path(__file__).parents[1]
    return SourceTree({folder.name: folder})


def tree_around(modules: Mapping[str, Path]) -> SourceTree:
    """Return the tree of these modules' top-level packages.

    A module outside of any package can also import the files beside it, and whatever a plugin
    uses of this package is part of its code.
    """
    roots = harness_tree().roots
    for name, path in modules.items():
        depth = name.count(".") + (path.stem == INIT)
        if not depth:
            roots |= {one.stem: one for one in path.parent.glob("*.py")}
            roots |= {one.parent.name: one.parent for one in path.parent.glob(f"*/{INIT}.py")}
            roots[name] = path
        else:
            roots[name.partition(".")[0]] = path.parents[depth - 1]
    return SourceTree(roots)


def packages_above(name: str) -> list[str]:
    """Return the packages that importing a module imports first."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def data_below(folder: Path) -> Iterator[Path]:
    """Yield the non-source files of a package's folder, without those of packages inside it."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.name != "__pycache__" and not (path / f"{INIT}.py").is_file():
                yield from data_below(path)
        elif path.suffix not in NOT_DATA and not path.name.startswith("."):
            yield path


@functools.lru_cache(maxsize=4096)
def read_source(path: Path, name: str, _changed: int) -> Source:
    """Return a module's imports and digest; of what does not parse, the digest of its bytes."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        # Source for another Python version: never imported here, or failing if it is.
        return Source(path, (), {}, file_digest(path, _changed))
    package = name if path.stem == INIT else name.rpartition(".")[0]
    imports = tuple(sorted(set(imported(tree, package))))
    offers: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.If) and is_type_checking(node.test) and path.stem == INIT:
            found = [name for one in node.body for name in imported(one, package, here=True)]
            offers |= {name.rpartition(".")[2]: name.rpartition(".")[0] for name in found}
    return Source(path, imports, offers, tree_digest(tree))


@functools.lru_cache(maxsize=4096)
def file_digest(path: Path, _changed: int) -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def imported(tree: ast.AST, package: str, *, here: bool = False) -> Iterator[str]:
    """Yield the dotted names imported below a node, except in blocks for type checkers.

    `here`: the node itself is such a statement.
    """
    for node in [tree] if here else ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and is_type_checking(node.test):
            yield from imported(ast.Module(node.orelse, []), package)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{base_of(node, package)}.{alias.name}" for alias in node.names)
        else:
            if isinstance(node, ast.Call) and (name := named_import(node)):
                yield name
            yield from imported(node, package)


def named_import(node: ast.Call) -> str | None:
    """Return the module that `import_module("...")` or `__import__("...")` names."""
    function = (
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    )
    first = node.args[0] if node.args else None
    constant = isinstance(first, ast.Constant) and isinstance(first.value, str)
    if function not in {"import_module", "__import__"} or not constant:
        return None
    return str(first.value)  # type: ignore[union-attr]  # a constant


def base_of(node: ast.ImportFrom, package: str) -> str:
    """Return the absolute name of the module in `from ... import`."""
    if not node.level:
        return str(node.module)
    parts = package.split(".")
    kept = parts[: len(parts) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def is_type_checking(test: ast.expr) -> bool:
    """Return whether a condition is `TYPE_CHECKING`."""
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def tree_digest(tree: ast.Module) -> str:
    """Return the digest of a syntax tree without docstrings; places in the file play no part.

    Nor do texts given as `help`: what a flag or option says of itself moves no number.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = [one for one in node.keywords if not is_help(one)]
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body:
            continue
        # Strings that are statements are comments, wherever they are.
        kept = [one for one in body if not is_text(one)]
        node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]  # it has one
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def is_help(keyword: ast.keyword) -> bool:
    """Return whether a call's argument is the text of its help."""
    text = isinstance(keyword.value, ast.Constant | ast.JoinedStr)
    return keyword.arg == "help" and text


def is_text(node: ast.AST) -> bool:
    """Return whether a statement is a string and nothing else."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@functools.cache
def distribution_of(package: str) -> str | None:
    """Return the installed distribution that a top-level package comes from, None for none.

    Most have the same name; for the others, the lists of installed files are searched.
    """
    if package in sys.stdlib_module_names:
        return None
    try:
        return metadata.distribution(package).name
    except metadata.PackageNotFoundError:
        marks = (f"\n{package}/", f"\n{package}.py,")
        for found in metadata.distributions():
            files = "\n" + (found.read_text("RECORD") or "")
            if any(mark in files for mark in marks):
                return found.name
    return None


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of the distributions of these packages, except sfbench."""
    names = {distribution_of(package) for package in packages} - {None, "sfbench"}
    return {name: metadata.version(name) for name in sorted(filter(None, names))}
