"""Certificates: the local authority and everything that it signs.  Knows neither the proxy nor the rules."""
