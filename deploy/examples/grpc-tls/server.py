"""The service: shop.Cart/Watch sends four messages, shop.Cart/Get one, over TLS on port 50051."""

from concurrent.futures import ThreadPoolExecutor

import grpc


def get(request, context):
    """Send the message back."""
    return request


def watch(request, context):
    """Send it back four times, with a number."""
    for number in range(1, 5):
        yield request + b" %d" % number


methods = {
    "Get": grpc.unary_unary_rpc_method_handler(get),
    "Watch": grpc.unary_stream_rpc_method_handler(watch),
}
with open("localhost-key.pem", "rb") as key, open("localhost.pem", "rb") as chain:
    credentials = grpc.ssl_server_credentials([(key.read(), chain.read())])
server = grpc.server(ThreadPoolExecutor())
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Cart", methods)])
server.add_secure_port("127.0.0.1:50051", credentials)
server.start()
server.wait_for_termination()
