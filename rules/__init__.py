"""The rule language: what a user writes, compiled to what the proxy asks at each exchange.

This package is pure: it knows neither sockets nor clocks nor global dice.  Time and
ordinals come in as arguments, so that every verdict can be replayed.
"""
