"""The deadline that the caller of a gRPC call has set, as a time to wait."""

from proxy.exchange import Exchange
from proxy.wire.grpc import timeout_of
from proxy.wire.h2_block import Block
from rules.actions import Action, Nothing, Wait, WaitForDeadline


def wait_for_deadline(ex: Exchange, wait: WaitForDeadline) -> Action:
    """Say how long that is from now on; nothing where there is no deadline."""
    block = ex.head.block
    timeout = timeout_of(block.get(b"grpc-timeout") if isinstance(block, Block) else None)
    if timeout < 0.0:
        return Nothing()
    return Wait(max(0.0, ex.started + timeout + wait.seconds - ex.worker.timers.now()))
