"""What the tests lean on: upstreams, clients, a proxy in a process of its own."""
