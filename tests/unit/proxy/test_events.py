"""The live feed: bounded, counted, and in order."""

import asyncio

import pytest

from proxy.events import Events, TooManySubscribers


async def test_each_reader_gets_each_event_in_order() -> None:
    events = Events()
    readers = [events.subscribe(), events.subscribe()]
    waiting = asyncio.create_task(readers[0].next())
    await asyncio.sleep(0)
    for number in range(3):
        events.publish("n", {"number": number})
    assert await waiting == (1, "n", {"number": 0})
    assert [(await readers[1].next())[0] for _ in range(3)] == [1, 2, 3]


async def test_a_slow_reader_loses_the_newest_and_nobody_else_does() -> None:
    events = Events(queue=2)
    slow, quick = events.subscribe(), events.subscribe()
    for number in range(5):
        events.publish("n", {"number": number})
        assert (await quick.next())[2] == {"number": number}
    assert (slow.dropped, quick.dropped, events.dropped) == (3, 0, 3)
    assert [(await slow.next())[0] for _ in range(2)] == [1, 2]


async def test_places_are_bounded_and_come_back() -> None:
    events = Events(subscribers=1)
    flags = [events.wanted]
    reader = events.subscribe()
    flags.append(events.wanted)
    with pytest.raises(TooManySubscribers):
        events.subscribe()
    events.unsubscribe(reader)
    events.unsubscribe(reader)
    assert [*flags, events.wanted] == [False, True, False]
    events.subscribe()
    assert events.subscribers == 1
