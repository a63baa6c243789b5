"""Measures the CPU time of each stage of an upload, with the application in this process.

There is no server; storage is on disk, the catalog is SQLite, and the memory settings are those of a worker.
The thread's CPU clock times each part of the application while uploads run. "Flask" is the rest of the call:
routing, the log, the metrics, JSON. The difference to the CPU that ``bench.upload`` measures for a worker is
what gunicorn adds: the socket, HTTP, its threads.
"""

from __future__ import annotations

import io
import json
import logging
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

import validators
from api.multipart import Form, read_form
from app import create_app
from auth.tokens import new_api_key
from bench.pictures import all_pictures
from bench.targets import new_product
from bench.upload import BOUNDARY, form
from catalog.base import MAX_IMAGES, Catalog
from catalog.identity import Plan, Workspace
from catalog.ids import new_id, now
from catalog.sqlite import SQLiteCatalog
from config import Settings
from logs import JSONFormatter
from storage.disk import DiskStorage
from validators.base import Limits, Upload, Validator
from worker import Heap

ROUNDS: Final = 3
FLASK: Final = "Flask, log, metrics, JSON"


class Clock:
    """CPU seconds of this thread, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        before = time.thread_time()
        try:
            yield
        finally:
            self.seconds[name] += time.thread_time() - before

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function, timed as a stage."""

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the arguments and the result of any function
            with self.stage(name):
                return function(*args, **kwargs)

        return call

    def validator(self, validator: Validator) -> Validator:
        return _Timed(self, validator)

    def read_form(self) -> Form:
        """Reads the form and computes the digest, so that no later stage is charged for the digest."""
        with self.stage("form"):
            form = read_form()
        with self.stage("SHA-256"):
            _ = form.upload.sha256
        return form


class _Timed:
    def __init__(self, clock: Clock, validator: Validator) -> None:
        self._clock = clock
        self._validator = validator
        self.name = validator.name

    def __call__(self, upload: Upload, limits: Limits) -> None:
        stage = self.name if self.name in {"structure", "decode"} else "other validators"
        with self._clock.stage(stage):
            self._validator(upload, limits)


@contextmanager
def timed_app(folder: Path, clock: Clock) -> Iterator[tuple[Flask, Catalog]]:
    """Starts the application with its parts timed by the clock."""
    catalog = SQLiteCatalog(folder / "stages.sqlite3")
    storage = DiskStorage(folder / "stages", "http://127.0.0.1/media")
    with ExitStack() as stack:
        for part, method, name in (
            (catalog, "find_credential", "key"),
            (catalog, "get_product", "product"),
            (storage, "put", "file"),
            (catalog, "append_image", "append"),
        ):
            timed = clock.timed(name, getattr(part, method))
            stack.enter_context(patch.object(part, method, timed))
        chain = tuple(map(clock.validator, validators.IMAGE_CHAIN))
        stack.enter_context(patch.object(validators, "IMAGE_CHAIN", chain))
        stack.enter_context(patch("api.images.read_form", clock.read_form))
        yield create_app(Settings(data_dir=folder), storage=storage, catalog=catalog), catalog


def log_as_shipped() -> None:
    """Formats log lines as a server does, and discards them."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(JSONFormatter())
    logger = logging.getLogger("vetrina.access")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


def measure_round(app: Flask, catalog: Catalog, clock: Clock, key: str, body: bytes) -> dict[str, float]:
    """Returns the CPU seconds of an upload by stage: the mean over uploads that fill a product."""
    workspace_id = next(iter(catalog.list_workspaces())).id
    product = new_product(workspace_id)
    catalog.create_product(product)
    clock.seconds.clear()
    for _ in range(MAX_IMAGES):
        environ = EnvironBuilder(
            method="POST",
            path=f"/api/v1/products/{product.id}/images",
            headers=[("Authorization", f"Bearer {key}")],
            content_type=f"multipart/form-data; boundary={BOUNDARY}",
            input_stream=io.BytesIO(body),
            content_length=len(body),
        ).get_environ()
        with clock.stage("whole"):
            answer, status, _ = run_wsgi_app(app, environ, buffered=True)
        if not status.startswith("201"):
            raise RuntimeError(f"{status}: {json.loads(b''.join(answer))}")
    figures = {name: seconds / MAX_IMAGES for name, seconds in clock.seconds.items()}
    whole = figures.pop("whole")
    return {**figures, FLASK: whole - sum(figures.values())}


def measure(folder: Path, rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Returns the CPU seconds of an upload by picture and stage: medians of the rounds after a first one."""
    Heap()
    log_as_shipped()
    clock = Clock()
    with timed_app(folder, clock) as (app, catalog):
        workspace = Workspace(id=new_id(), name="Bench", plan=Plan.ENTERPRISE, created_at=now())
        catalog.create_workspace(workspace)
        key, credential = new_api_key(workspace.id)
        catalog.create_credential(credential)
        table = {}
        for picture, data in all_pictures().items():
            figures = [measure_round(app, catalog, clock, key, form(data)) for _ in range(rounds + 1)][1:]
            table[picture] = {
                stage: statistics.median(figure[stage] for figure in figures) for stage in figures[0]
            }
        return table
