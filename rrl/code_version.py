"""The version of a stage's code: a digest of what it computes, blind to comments and layout.

A digest that was shown to be equivalent to an older one has the older one's version: `make accept-refactor`
writes that to accepted_refactors.json. This module decides when a stage runs again and nothing of what it
computes, so it is not part of any digest itself.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
ACCEPTED = "accepted_refactors.json"
OWN = "code_version"


@cache
def code_version(stage: str) -> str:
    """The digest of a stage's code, or the version that it was accepted as."""
    digest = code_digest(stage)
    return accepted_refactors().get(digest, digest)


def accepted_refactors() -> dict[str, str]:
    """Digest -> version, for the digests that are not a version of their own."""
    accepted: dict[str, str] = json.loads((PACKAGE / ACCEPTED).read_text(encoding="utf-8"))
    return accepted


def code_digest(stage: str) -> str:
    """Digest (12 hex digits) over `rrl.stages.<stage>` and the modules of rrl that it imports, transitively."""
    digest = hashlib.sha256()
    for module in sorted(imported_modules(f"stages.{stage}")):
        digest.update(f"{module} {_module_digest(module)}\n".encode())
    return digest.hexdigest()[:12]


def imported_modules(stage: str) -> set[str]:
    """The modules of rrl behind a stage, itself and the packages that they are in included: `heads`, `probing`."""
    found: set[str] = set()
    waiting = {stage, "__init__"}
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= _imports(module) - found
    return found


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


def _path(module: str) -> Path:
    """Of a module, or of a package, whose code is its `__init__`."""
    path = PACKAGE / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_name(f"{path.name}.py")


@cache
def _module_digest(module: str) -> str:
    return hashlib.sha256(" ".join(_tokens(_tree(module), [])).encode()).hexdigest()


@cache
def _imports(module: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    paths = [name.split(".")[1:] for name in names if name.startswith("rrl.")]
    modules = {".".join(path[:end]) for path in paths for end in range(1, len(path) + 1)}
    return {name for name in modules if name != OWN and _path(name).exists()}


def _tokens(node: object, words: list[str]) -> list[str]:
    """The syntax tree as words, appended to `words`. Not ast.dump: its text differs between Python versions."""
    if isinstance(node, ast.AST):
        words.append(f"({type(node).__name__}")
        for name, value in ast.iter_fields(node):
            if name == "body":
                value = _without_docstring(node, value)
            if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty pieces to some f-strings
                value = [piece for piece in value if getattr(piece, "value", None) != ""]
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


def _without_docstring(node: ast.AST, body: object) -> object:
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and isinstance(body, list) and ast.get_docstring(node, clean=False) is not None:  # type: ignore[arg-type]
        return body[1:]
    return body
