"""What the source says of the fields of wire models, for the document.

Read from the source only when the document is asked for: the models themselves are imported
by every client, which should not have to wait for that.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

Fields = dict[tuple[str, str], str]
"""From a model's and a field's name to the text below the field."""


def field_docstrings(package: ModuleType) -> Fields:
    """Of all classes of the package's modules."""
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)
    ]
    classes = (
        statement
        for module in modules
        for statement in ast.parse(inspect.getsource(module)).body
        if isinstance(statement, ast.ClassDef)
    )
    return {(found.name, name): text for found in classes for name, text in _of_class(found)}


def _of_class(found: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in zip(found.body, found.body[1:], strict=False):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = following.value.value
            if isinstance(text, str):
                yield statement.target.id, inspect.cleandoc(text)
