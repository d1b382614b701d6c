"""A running admin endpoint in front of a fake proxy."""

from collections.abc import AsyncIterator

import pytest

from proxy.config import AdminConfig, HealthConfig
from tests.unit.proxy.admin.fake_proxy import Endpoint, FakeProxy


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    proxy = FakeProxy(AdminConfig("127.0.0.1:0"), HealthConfig("127.0.0.1:0"))
    await proxy.load()
    made = Endpoint(proxy)
    await made.server.start()
    yield made
    await made.server.stop()
    proxy.changes.close()
    proxy.worker.log.close()
