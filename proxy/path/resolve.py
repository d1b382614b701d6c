"""Phase ``resolve``: which address of the upstream this exchange goes to."""

from typing import Final

from proxy import errors
from proxy.exchange import Exchange
from proxy.path import connect, end
from proxy.performer import Then
from rules import phases


class _Resolve(Then):
    """Choose, after the faults of this phase."""

    def carry_on(self, ex: Exchange) -> None:
        choose(ex)


_RESOLVE: Final = _Resolve()


def enter(ex: Exchange) -> None:
    """The request goes to its upstream."""
    if ex.plan is None:
        choose(ex)
    else:
        end.perform(ex, phases.RESOLVE, _RESOLVE)


def choose(ex: Exchange) -> None:
    """Choose an address by the upstream's balance and go on to connect there."""
    target = ex.target
    if target is not None:
        endpoint = target.pick(0) if ex.aside is None else ex.aside
        ex.endpoint = endpoint
        if endpoint is None:
            end.fail(ex, errors.NO_HEALTHY_UPSTREAM)
        elif ex.plan is None:
            connect.take(ex)
        else:
            connect.enter(ex)
