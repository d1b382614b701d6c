"""How long the loop was held between two turns, while something else ran on it."""

import asyncio
import gc
import time
from types import TracebackType


class Stalls:
    """Takes a turn of the loop as often as it can, and remembers the longest gaps.

    ``worst_cpu`` counts only what this thread itself computed: a busy machine does not blur it.  What was
    there before is frozen, as the proxy does at its start: else the collector would walk all that pytest has
    loaded.
    """

    def __init__(self) -> None:
        self.worst = 0.0  # seconds
        self.worst_cpu = 0.0
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> "Stalls":
        gc.collect()
        gc.freeze()
        self._task = asyncio.get_running_loop().create_task(self._feel())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
        gc.unfreeze()

    def __str__(self) -> str:
        return f"longest stall {self.worst * 1000:.1f} ms, {self.worst_cpu * 1000:.1f} ms of it computing"

    async def _feel(self) -> None:
        before, cpu_before = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0)
            now, cpu = time.perf_counter(), time.thread_time()
            self.worst = max(self.worst, now - before)
            self.worst_cpu = max(self.worst_cpu, cpu - cpu_before)
            before, cpu_before = now, cpu
