"""How long hypothesis looks, as it is set or many times longer for `make fuzz`; and how cases are called."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "fuzz", deadline=None, max_examples=20_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Call no case by an address in memory: it would have another name in each process."""
    return argname if " object at 0x" in repr(val) else None
