"""Whether a model's programs read all that they can be told."""

import ast
import dataclasses
from collections.abc import Iterable
from pathlib import Path

from ci.tests.clone import ROOT


def unused_options(model: Path, classes: Iterable[type]) -> set[str]:
    """Fields of the configurations that nothing in the model's folder or common/ reads as an attribute.

    Attributes count of what is called `options` or `config`, and of `self` where the configurations are defined. Those
    that give a hyper-parameter are read all together: a name that the network does not have would be refused.
    """
    classes = list(classes)
    modules = {cls.__module__ for cls in classes}
    used = set()
    for path in [*model.rglob("*.py"), *(ROOT / "common").rglob("*.py")]:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        holders = {"options", "config", *(["self"] if module in modules else [])}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
                used |= {node.attr} if node.value.id in holders else set()
    fields = {
        f"{cls.__name__}.{field.name}"
        for cls in classes
        for field in dataclasses.fields(cls)
        if not field.metadata.get("hyper")
    }
    return {field for field in fields if field.rpartition(".")[2] not in used}
