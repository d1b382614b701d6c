"""The pacer: many wait by one timer, nobody is called early, and others get their turn."""

from proxy.net.pacer import Pacer
from proxy.net.pipe import Cork
from proxy.net.timers import Callback
from tests.support.fakes import FakeTimers


class Waiter(Callback):
    """Notes when it is called; serving it takes a while, and it may wait again."""

    def __init__(self, pacer: Pacer, timers: FakeTimers, takes: float = 0.0, again: float = 0.0) -> None:
        self.pacer, self.timers, self.takes, self.again = pacer, timers, takes, again
        self.called: list[float] = []
        self.corked: list[bool] = []

    def fire(self) -> None:
        self.called.append(round(self.timers.now() - 1000.0, 3))
        self.corked.append(self.pacer.cork.closed)
        self.timers.time += self.takes
        if self.again:
            self.pacer.wait(self, self.timers.now() + self.again)


def made() -> tuple[Pacer, FakeTimers]:
    timers = FakeTimers()
    return Pacer(timers, Cork()), timers


def test_each_is_called_once_when_it_is_due() -> None:
    pacer, timers = made()
    waiters = [Waiter(pacer, timers) for _ in range(3)]
    for waiter, due in zip(waiters, (0.03, 0.01, 0.02), strict=True):
        pacer.wait(waiter, 1000.0 + due)
    assert timers.armed == 1
    timers.advance(1.0)
    assert [waiter.called for waiter in waiters] == [[0.03], [0.01], [0.02]]
    assert waiters[0].corked == [True]
    assert (pacer.cork.closed, timers.armed, pacer.waiting) == (False, 0, {})


def test_who_was_forgotten_is_not_called() -> None:
    pacer, timers = made()
    one, other = Waiter(pacer, timers), Waiter(pacer, timers)
    pacer.wait(one, 1000.01)
    pacer.wait(other, 1000.02)
    pacer.forget(one)
    timers.advance(0.03)
    assert (one.called, other.called) == ([], [0.02])
    pacer.wait(one, 1001.0)
    pacer.forget(one)
    assert timers.armed == 0


def test_one_who_is_forgotten_by_another_in_the_same_go_is_not_called() -> None:
    pacer, timers = made()
    other = Waiter(pacer, timers)

    class Forgets(Waiter):
        def fire(self) -> None:
            super().fire()
            pacer.forget(other)

    one = Forgets(pacer, timers)
    pacer.wait(one, 1000.01)
    pacer.wait(other, 1000.01)
    timers.advance(0.1)
    assert (one.called, other.called) == ([0.01], [])


def test_who_asks_anew_is_called_at_the_new_time() -> None:
    pacer, timers = made()
    one = Waiter(pacer, timers)
    pacer.wait(one, 1000.5)
    pacer.wait(one, 1000.1)
    timers.advance(1.0)
    assert one.called == [0.1]


def test_as_much_time_is_left_for_others_as_serving_took() -> None:
    pacer, timers = made()
    busy = [Waiter(pacer, timers, takes=0.01, again=0.001) for _ in range(10)]
    for waiter in busy:
        pacer.wait(waiter, 1000.0)
    timers.advance(0.35)
    assert busy[0].called == [0.0, 0.2]  # serving all ten took 0.1


def test_the_more_wait_the_rarer_each_is_called() -> None:
    pacer, timers = made()
    many = [Waiter(pacer, timers, again=0.02) for _ in range(1000)]
    for waiter in many:
        pacer.wait(waiter, 1000.0)
    timers.advance(1.05)
    assert {len(waiter.called) for waiter in many} == {11}  # each 100 ms, and not each 20
