"""The version of a job's code: a digest of what it computes, blind to comments, layout, messages, names and places.

A module's digest is that of its syntax tree, in which an import of a module of rrl is replaced by that module's digest:
a move or another name of a file changes nothing. Left out are PLUMBING, of which a test of golden bytes shows that it
changes no result, and DECLARATIONS, whose values are settings. The version of a job has the module of its stage, and of
the tables of architectures, data sets and solvers only the entries that its settings and inputs name: a new one reruns
nobody else.

A digest that was shown to be equivalent to an older one stands for the older one: `make accept-refactor` writes that to
accepted_refactors.json. This module decides when a stage runs again and nothing of what it computes.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rrl.data.sources import parts as dataset_parts
from rrl.heads.solvers import SOLVERS
from rrl.networks.architectures import parts as architecture_parts
from rrl.networks.formats import parts as format_parts

PACKAGE = Path(__file__).parent
ACCEPTED = "accepted_refactors.json"
# Command line, errors, bars, writing of files, keys: what a job computes does not depend on them.
PLUMBING = frozenset({"bars", "code_version", "errors", "job", "store.files", "store.hdf5", "store.work"})
# Declarations: every value that counts is in a job's settings, or in the entry of a table that they name.
DECLARATIONS = frozenset(
    {"config.kinds", "config.settings", "data.sources", "heads.solvers", "networks.architectures", "networks.formats"}
)
SPEAKING = {"UserError", "Bar", "write_line"}  # what they are called with is for people


@dataclass(frozen=True)
class Part:
    """A module that a job loads by name, and the entry of a table that names it."""

    module: str
    entry: str = ""


def code_version(stage: str, parts: Iterable[Part] = ()) -> str:
    """Digest (12 hex digits) of the code of a stage, and of the parts that a job of it loads."""
    words = [module_digest(f"stages.{stage}")]
    words += sorted({f"{module_digest(part.module)} {part.entry}" for part in parts})
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


@cache
def module_digest(module: str, accepted: frozenset[tuple[str, str]] = frozenset()) -> str:
    """Digest (12 hex digits) of a module of rrl and all that it imports, or the one that it was accepted as.

    accepted : pairs of digests besides those of accepted_refactors.json.
    """
    words = [f"{module_digest(name, accepted)} {names}" for name, names in _imports(module)] + _foreign(module)
    text = "\n".join([" ".join(_tokens(_tree(module), [])), *sorted(words)])
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return dict(accepted).get(digest) or accepted_refactors().get(digest, digest)


@cache
def accepted_refactors() -> dict[str, str]:
    """Digest of a module -> the digest that it is equivalent to."""
    accepted: dict[str, str] = json.loads((PACKAGE / ACCEPTED).read_text(encoding="utf-8"))
    return accepted


def imports_of(module: str) -> set[str]:
    """The modules that a module imports itself, as far as they count."""
    return {name for name, _ in _imports(module)}


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


def _path(module: str) -> Path:
    """Where the code of a module is, or of a package: its `__init__`."""
    path = PACKAGE / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_name(f"{path.name}.py")


@cache
def _import_nodes(module: str) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(_tree(module)) if isinstance(node, ast.Import | ast.ImportFrom)]


def _foreign(module: str) -> list[str]:
    """The imports of other packages."""
    return [ast.unparse(node) for node in _import_nodes(module) if not _within(node)]


@cache
def _imports(module: str) -> list[tuple[str, str]]:
    """The modules of rrl that a module imports, and what from each; without plumbing and declarations."""
    named = [pair for node in _import_nodes(module) for pair in _within(node)]
    return [(name, words) for name, words in named if name and name not in PLUMBING | DECLARATIONS]


def _within(node: ast.Import | ast.ImportFrom) -> list[tuple[str, str]]:
    """The modules of rrl that an import names, without `rrl.`, and the names that it takes from each."""
    if isinstance(node, ast.Import):
        return [(alias.name[4:], alias.asname or "") for alias in node.names if alias.name.startswith("rrl.")]
    if node.module is None or f"{node.module}.".partition(".")[0] != "rrl":
        return []
    package = node.module[4:]
    imported = []
    for alias in node.names:
        below = f"{package}.{alias.name}".lstrip(".")
        is_module = _path(below).exists()
        imported.append((below if is_module else package, "" if is_module else f"{alias.name} {alias.asname or ''}"))
    return imported


def _tokens(node: object, words: list[str]) -> list[str]:
    """The syntax tree as words, appended to `words`, without imports and what is for people.

    Not ast.dump: its text differs between Python versions.
    """
    if isinstance(node, ast.Import | ast.ImportFrom) or _is_said(node):
        return words
    if isinstance(node, ast.AST):
        words.append(f"({type(node).__name__}")
        for name, value in ast.iter_fields(node):
            if name == "body":
                value = _without_docstring(node, value)
            if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty pieces to some f-strings
                value = [piece for piece in value if getattr(piece, "value", None) != ""]
            if name == "args" and isinstance(node, ast.Call) and getattr(node.func, "id", "") in SPEAKING:
                value = [part for part in value if not isinstance(part, ast.Constant | ast.JoinedStr | ast.BinOp)]
            if value is None or value == [] or name in ("kind", "type_comment"):
                continue
            words.append(f"{name}=")
            _tokens(value, words)
        words.append(")")
    elif isinstance(node, list):
        for item in node:
            _tokens(item, words)
    else:
        words.append(f"{type(node).__name__}:{node!r}")
    return words


def _is_said(node: Any) -> bool:
    """Whether a statement prints to standard error: `print(..., file=sys.stderr)`."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or getattr(call.func, "id", "") != "print":
        return False
    return any(part.arg == "file" and ast.unparse(part.value) == "sys.stderr" for part in call.keywords)


def _without_docstring(node: ast.AST, body: object) -> object:
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and isinstance(body, list) and ast.get_docstring(node, clean=False) is not None:  # type: ignore[arg-type]
        return body[1:]
    return body


def parts_of(settings: Any, architectures: Iterable[str], datasets: Iterable[str] = ()) -> list[Part]:
    """What a job loads by name: its solver, and the architectures, checkpoint format and data sets of its settings and
    of its inputs."""
    source = getattr(settings, "source", settings)
    names = [*architectures, getattr(source, "arch", None)]
    entries: list[Any] = [entry for name in names if name for entry in architecture_parts(name)]
    if format := getattr(source, "format", None):
        entries += format_parts(format)
    names = [*datasets, getattr(source, "dataset", None)]
    entries += [entry for name in names if name for entry in dataset_parts(name)]
    parts = [Part(module.removeprefix("rrl."), str(entry)) for entry in entries for module in entry.modules]
    if getattr(source, "origin", "") == "library":
        parts.append(Part("networks.pretrained"))
    if hasattr(settings, "solver"):
        parts.append(Part(SOLVERS[settings.solver].removeprefix("rrl.")))
    if getattr(settings, "arithmetic", "") == "portable":
        parts.append(Part("arithmetic"))
    return parts
