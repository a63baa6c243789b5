"""gunicorn's threaded worker, with deadlines, refusals in the contract's JSON, and a heap of bounded size.

The main thread of a worker accepts connections and reads the heads of requests (``heads.py``). A request
whose head is complete gets a thread when it is its turn (``admission.py``). The number of threads that wait
for their clients is bounded (``waits.py``), so that clients that send or read slowly leave threads for the
others.
"""

from worker.heap import Heap
from worker.threaded import Logger, Worker

__all__ = ["Heap", "Logger", "Worker"]
