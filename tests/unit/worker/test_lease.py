from __future__ import annotations

from ingest.worker.lease import LEASE_TTL_S, Lease
from tests.support.scripted_database import ScriptedDatabase
from tests.unit.worker.clock import FakeClock


def test_a_lease_that_was_not_renewed_ends_by_its_own_clock() -> None:
    clock = FakeClock()
    lease = Lease(ScriptedDatabase(acquire_lease=[True]), "me", clock)
    assert lease.renew()
    clock.now += LEASE_TTL_S - 0.1
    assert lease.is_held
    clock.now += 0.2
    assert not lease.is_held


def test_a_lease_that_another_holds_is_not_ours_and_not_released() -> None:
    database = ScriptedDatabase(acquire_lease=[False])
    lease = Lease(database, "me", FakeClock())
    assert not lease.renew()
    lease.release()
    assert database.called == ["acquire_lease"]


def test_a_refused_renewal_ends_the_leadership_at_once() -> None:
    lease = Lease(ScriptedDatabase(acquire_lease=[True, False]), "me", FakeClock())
    lease.renew()
    assert not lease.renew()
