"""Breaker libraries as oracles: small programs around the originals, fed with the traces that we take."""
