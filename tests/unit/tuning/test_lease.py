"""Of two drivers on one experiment exactly one writes, also after a pause."""

import json
import threading
import time

import pytest

from aufleet.errors import ConfigError
from aufleet.tuning.lease import Holder, LeaseLostError, hold
from aufleet.tuning.ledger import Ledger

from .conftest import record_of

ELSEWHERE = Holder(host="elsewhere", pid=1, space="another machine")


@pytest.fixture
def store(root):
    return root.child("experiments/small")


def paused(lease):
    """Let a lease be renewed no more, as if its process stood still."""
    lease._ended.set()
    lease._renewed = float("-inf")
    return lease


def test_a_living_driver_keeps_others_out(store):
    first = hold(store, duration_s=0.6, holder=ELSEWHERE)
    with pytest.raises(ConfigError, match=r"process 1 on elsewhere runs the experiment"):
        hold(store, duration_s=0.6, holder=ELSEWHERE)
    first.release()


def test_a_released_lease_is_free_at_once_and_the_number_grows(store):
    first = hold(store, holder=ELSEWHERE)
    first.usage["seconds"] = 7.0
    first.release()
    started = time.monotonic()
    second = hold(store, holder=ELSEWHERE)
    assert time.monotonic() - started < 5
    assert (second.fence, second.usage) == (2, {"seconds": 7.0})
    second.release()


def test_a_silent_driver_loses_its_lease_and_finds_out(store):
    first = paused(hold(store, duration_s=0.3, holder=ELSEWHERE))
    second = hold(store, duration_s=0.3, holder=ELSEWHERE)
    with pytest.raises(LeaseLostError, match="another driver has taken over"):
        first.check()
    second.check()
    second.release()


def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_free_at_once(store):
    gone = Holder(host="here", pid=2**22 + 1, space=Holder.this().space)
    paused(hold(store, holder=gone))
    waits: list[float] = []
    hold(store, sleep=waits.append).release()
    assert waits == []


def test_of_many_that_ask_at_once_one_gets_it(store):
    got, refused = [], []

    def ask():
        try:
            got.append(hold(store, duration_s=3, holder=ELSEWHERE))
        except ConfigError as error:
            refused.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (len(got), len(refused)) == (1, 3)
    got[0].release()


def test_a_driver_that_was_away_from_the_store_goes_on_where_nobody_took_over(store):
    lease = hold(store, holder=ELSEWHERE)
    lease._renewed = float("-inf")
    lease.check()
    lease.release()


def test_the_number_stands_in_every_key_and_zombies_count_for_nothing(store):
    first = hold(store, duration_s=0.3, holder=ELSEWHERE)
    old = Ledger(store, lease=first)
    old.seal()
    old.add_trial(record_of(fold=1))
    # Paused after the check and before the write, which no check can prevent.
    paused(first)
    second = hold(store, duration_s=0.3, holder=ELSEWHERE)
    new = Ledger(store, lease=second)
    new.seal()
    late = record_of(fold=2, score=0.9)
    store.write_new(f"ledger/{late.key}.f000001.json", late.model_dump_json().encode())
    with pytest.raises(LeaseLostError):
        old.add_trial(record_of(fold=3))
    new.add_trial(record_of(fold=2, score=0.1))
    assert [(one.fold, one.score) for one in Ledger(store).trials()] == [(1, 0.5), (2, 0.1)]
    names = [key for key in store.keys("ledger/trials/")]
    assert all(key.endswith((".f000001.json", ".f000002.json")) for key in names)
    second.release()


def test_records_without_a_number_are_taken_over(store):
    Ledger(store).add_trial(record_of())
    lease = hold(store)
    ledger = Ledger(store, lease=lease)
    ledger.seal()
    assert [one.fold for one in ledger.trials()] == [1]
    [snapshot] = store.keys("ledger/snapshots/")
    assert list(json.loads(store.read(snapshot))["records"]) == [record_of().key]
    assert [one.fold for one in Ledger(store).trials()] == [1]
    lease.release()
