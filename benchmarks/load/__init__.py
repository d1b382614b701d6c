"""Load on whole proxies: us and real peers, the same upstream, the same client, interleaved rounds."""
