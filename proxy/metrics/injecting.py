"""What the injector counts, and how Prometheus reads it."""

from typing import Final

from proxy.metrics import catalogue
from proxy.metrics.families import counter, gauge, render

INJECTED: Final = "injected"
LEFT: Final = "left"
REFUSED: Final = "refused"
FAILED: Final = "failed"
RESULTS: Final = (INJECTED, LEFT, REFUSED, FAILED)


class InjectorCells:
    """Counters of one injector; ``certificate_end`` is in seconds of the epoch, 0: there is none yet."""

    def __init__(self) -> None:
        self.reviews: dict[str, int] = dict.fromkeys(RESULTS, 0)
        self.warnings: int = 0
        self.certificates: int = 0  # made by this replica
        self.certificate_end: float = 0.0


async def exposition(cells: InjectorCells, accept: str) -> tuple[bytes, str]:
    """Write the counters as ``accept`` asks; gives the body and its content type."""
    families = [
        counter(catalogue.REVIEWS, [((result,), count) for result, count in cells.reviews.items()]),
        counter(catalogue.REVIEW_WARNINGS, [((), cells.warnings)]),
        counter(catalogue.INJECTOR_CERTIFICATES, [((), cells.certificates)]),
        gauge(catalogue.INJECTOR_CERTIFICATE_END, [((), cells.certificate_end)]),
    ]
    return await render(families, accept)
