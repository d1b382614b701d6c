"""Programs that the tests start as upstreams."""
