"""The client: client.py PORT calls both methods and prints what it sees."""

import sys

import grpc

with open("root.pem", "rb") as root:
    credentials = grpc.ssl_channel_credentials(root.read())
with grpc.secure_channel(f"localhost:{sys.argv[1]}", credentials) as channel:
    try:
        # While the service is still starting, the first call waits for it.
        get = channel.unary_unary("/shop.Cart/Get")
        print("Get:", get(b"cart", timeout=20, wait_for_ready=sys.argv[1] == "50051").decode())
        for message in channel.unary_stream("/shop.Cart/Watch")(b"cart", timeout=20):
            print("Watch:", message.decode())
        print("Watch ended well")
    except grpc.RpcError as error:
        print(error.code().name + ":", error.details())
