"""A gRPC upstream on grpcio, in this process, whose health a test sets as it likes."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc

HEALTH = "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3

# What the health service says: a state, the bytes of an answer, a status to fail with, or seconds of silence.
Said = int | bytes | grpc.StatusCode | float


class HealthyServer:
    """``says`` has what is said of each service, ``""`` for the whole server; what is not in it is NOT_FOUND.

    ``/shop.Shop/Who`` answers with the server's name.  ``implemented`` False: there is no health service.
    """

    def __init__(self, name: str, says: dict[str, Said], implemented: bool = True, port: int = 0) -> None:
        self.name = name
        self.says = says
        self.checks = 0
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        who: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            lambda message, context: name.encode()
        )
        handlers = [grpc.method_handlers_generic_handler("shop.Shop", {"Who": who})]
        if implemented:
            check: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._check)
            handlers.append(grpc.method_handlers_generic_handler(HEALTH, {"Check": check}))
        self._server.add_generic_rpc_handlers(tuple(handlers))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def _check(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self.checks += 1
        service = message[2:].decode()  # field 1, a string of less than 128 bytes
        assert message == (b"\x0a" + bytes([len(service)]) + service.encode() if service else b"")
        said = self.says.get(service, grpc.StatusCode.NOT_FOUND)
        if isinstance(said, grpc.StatusCode):
            context.abort(said, "as the test says")
        if isinstance(said, float):
            time.sleep(said)
            said = SERVING
        assert isinstance(said, int | bytes)
        return said if isinstance(said, bytes) else bytes([8, said])

    def stop(self) -> None:
        """Stop it, with all its connections."""
        self._server.stop(0).wait(10)
