"""A folder of pictures: which file belongs to which product.

A file is named for the model (``A100.jpg``, ``A100_2.png``, ``A100-back.webp``), or is in a folder that is
named for it. A folder that an export has written lists its files in ``products.json``.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from moving import manifest
from moving.export import CSV_NAME, INCOMPLETE
from moving.files import Found, printable, read_picture, walk
from moving.items import Action, Item, Picture, Step
from moving.names import OTHER_PICTURES, PICTURES, model_of, natural_key, normal

#: The files of an export beside the pictures.
OF_EXPORT: Final = frozenset({manifest.NAME, CSV_NAME})

_IN_NO_FOLDER: Final = "in a folder inside a folder, neither of which is named for a product"


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import of a folder is to do.

    Attributes:
        items: the products, in natural order of their models.
        problems: the files that belong to no product, and why.
    """

    items: list[Item]
    problems: list[Step]


def plan(root: Path, is_known: Callable[[str], bool], category: str | None) -> Plan:
    """Assigns the files below ``root`` to products.

    Args:
        root: the folder.
        is_known: returns whether the workspace has a product of a model.
        category: the category of the products that are created.

    Raises:
        OSError: the folder can't be read.
        ManifestUnusable
    """
    if (root / INCOMPLETE).exists():
        raise manifest.ManifestUnusable("the export in it has not ended")
    found = list(walk(root))
    exported = manifest.load(root)
    if exported is not None:
        named = set(manifest.files_of(exported))
        rest = [file for file in found if printable(file.path) not in named | OF_EXPORT]
        reason = f"{manifest.NAME} does not name it"
        return Plan(exported, [Step("", printable(file.path), Action.LEFT_OUT, reason) for file in rest])
    problems = [step for file in found if (step := _unusable(file))]
    pictures = [file.path for file in found if not _unusable(file)]
    is_known = lru_cache(maxsize=None)(is_known)
    models = _models(pictures, is_known)
    problems += [_left_out(path, _IN_NO_FOLDER) for path in pictures if path not in models]
    problems += _other_spellings(models, is_known)
    return Plan(_items(root, models, category), problems)


def _unusable(file: Found) -> Step | None:
    name, extension = printable(file.path), file.path.suffix.lower()
    if file.problem:
        return Step("", name, Action.REFUSED, file.problem)
    if extension in OTHER_PICTURES:
        return Step("", name, Action.REFUSED, "not a PNG, JPEG or WebP")
    if extension not in PICTURES:
        return _left_out(file.path, "not a picture")
    return None


def _left_out(path: Path, reason: str) -> Step:
    return Step("", printable(path), Action.LEFT_OUT, reason)


def _models(pictures: Iterable[Path], is_known: Callable[[str], bool]) -> dict[Path, str]:
    """The model of each picture that has one."""
    stems: dict[Path, set[str]] = defaultdict(set)
    for path in pictures:
        stems[path.parent].add(normal(path.stem).strip())
    models = {}
    for path in pictures:
        if model := _model(path, stems[path.parent], is_known):
            models[path] = model
    return models


def _model(path: Path, stems: set[str], is_known: Callable[[str], bool]) -> str | None:
    """The model of one picture: the name of its folder or its own name, preferably one of a known product."""
    folders = [normal(part).strip() for part in reversed(path.parent.parts)]
    for folder in folders:
        if is_known(folder):
            return folder
    own = model_of(normal(path.stem).strip(), stems, is_known)
    if not folders or is_known(own):
        return own
    return folders[0] if len(folders) == 1 else None


def _other_spellings(models: dict[Path, str], is_known: Callable[[str], bool]) -> list[Step]:
    """Removes and reports the pictures of new models that differ from another model in case only."""
    first: dict[str, str] = {}
    problems = []
    in_order = sorted(models.items(), key=lambda entry: (not is_known(entry[1]), natural_key(entry[1])))
    for path, model in in_order:
        other = first.setdefault(model.casefold(), model)
        if other != model and not is_known(model):
            reason = f"the model {model} differs from {other} in case only"
            problems.append(Step(model, printable(path), Action.REFUSED, reason))
            del models[path]
    return problems


def _items(root: Path, models: Mapping[Path, str], category: str | None) -> list[Item]:
    pictures: dict[str, list[Path]] = defaultdict(list)
    for path, model in models.items():
        pictures[model].append(path)
    return [
        Item(
            model=model,
            defaults={"name": model, "category": category},
            pictures=[_picture(root, path) for path in sorted(pictures[model], key=_order)],
            derived=True,
        )
        for model in sorted(pictures, key=natural_key)
    ]


def _order(path: Path) -> tuple[object, ...]:
    """The natural order of paths, in which ``A100`` comes before ``A100-back``."""
    parts = [*path.parent.parts, path.stem]
    return (tuple(natural_key(normal(part)) for part in parts), os.fspath(path))


def _picture(root: Path, path: Path) -> Picture:
    return Picture(name=printable(path), read=lambda: read_picture(root, path))
