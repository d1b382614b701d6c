"""How the proxy finds its upstreams by their names; not imported where all of them have addresses."""
