"""Measures the proxy and its peers on one machine; ``benchmarks/README.md`` says how and why."""
