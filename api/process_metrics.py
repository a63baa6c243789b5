"""The metrics of each process of a server: ``process_cpu_seconds_total``, ``process_open_fds`` and others.

``prometheus_client`` has them for a single process only, because several processes share nothing but their
counts. Here the process that answers a scrape reads those of all from ``/proc`` (proc(5)), so a process that
has ended is not among them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector


class ServerProcesses(Collector):
    """The process metrics of gunicorn's main process and of its workers, by the label ``pid``.

    The main process is the parent of the one that collects. Without ``/proc`` there are no metrics.
    """

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        merged: dict[str, Metric] = {}
        for pid in _pids():
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                family = merged.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type)
                )
                for sample in metric.samples:
                    family.add_sample(sample.name, {"pid": str(pid)}, sample.value)
        return merged.values()


def _pids() -> Sequence[int]:
    """The main process and the workers; only this process if the system does not tell them."""
    own, parent = os.getpid(), os.getppid()
    try:
        # One task is the main thread, which starts the workers.
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return [own]
    return [parent, *map(int, children)]
