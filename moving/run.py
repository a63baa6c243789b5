"""Imports many items at once, and ends cleanly when it is interrupted or a store fails."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context

from moving.importer import Importer
from moving.intake import Services
from moving.items import Action, Item, Step


class Run:
    """One run of an import.

    Args:
        services: the parts of the application.
        workspace_id: the workspace into which the items are imported.
        dry_run: whether nothing is written and nothing is downloaded.
        on_step: called for each step, by one thread at a time.
        parallel: how many products are imported at once.

    Attributes:
        counts: how often each action occurred.
        stopping: set when the run ends early; threads that wait or download check it.

    Raises:
        WorkspaceNotFound
    """

    def __init__(
        self,
        services: Services,
        workspace_id: str,
        *,
        dry_run: bool,
        on_step: Callable[[Step], None],
        parallel: int,
    ) -> None:
        self.counts: Counter[Action] = Counter()
        self.stopping = threading.Event()
        self._on_step = on_step
        self._parallel = parallel
        self._lock = threading.Lock()
        self._importer = Importer(
            services.intake(workspace_id, dry_run=dry_run),
            services.new_product,
            services.checked_alt,
            downloads=not dry_run,
            is_stopped=self.stopping.is_set,
        )

    def note(self, step: Step) -> None:
        """Counts and reports a step."""
        with self._lock:
            self.counts[step.action] += 1
            self._on_step(step)

    def bring(self, items: Iterable[Item]) -> None:
        """Imports the items, several at once. The pictures of an item come one after the other.

        Raises:
            Stopped, CatalogUnavailable, StorageUnavailable: the exception of the first item that failed with
                one. The other items have finished their current pictures by then.
            KeyboardInterrupt: the run was interrupted; the items have finished their current pictures.
        """
        with self._threads() as threads:
            running: set[Future[None]] = set()
            for item in items:
                running.add(threads.submit(copy_context().run, self._bring, item))
                while len(running) >= 2 * self._parallel:
                    running = _without_done(running)
            while running:
                running = _without_done(running)

    @contextmanager
    def _threads(self) -> Iterator[ThreadPoolExecutor]:
        threads = ThreadPoolExecutor(self._parallel)
        try:
            yield threads
        except BaseException:
            self.stopping.set()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def _bring(self, item: Item) -> None:
        if not self.stopping.is_set():
            for step in self._importer.bring(item):
                self.note(step)


def _without_done(running: set[Future[None]]) -> set[Future[None]]:
    """Waits until at least one has ended, raises its exception if it has one, and returns the others."""
    done, left = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return left
