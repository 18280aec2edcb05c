"""The journal: order, bounds, ownership, trouble with the disk."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ingest.record import journal as journal_module
from ingest.record.claim import LOCK_NAME, Claim
from ingest.record.journal import MIN_JOURNAL_BYTES, Journal
from ingest.record.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BIG = b"x" * 40_000


class Troubles(list[OSError]):
    """Collects what the disk said."""


def make(
    root: Path, max_bytes: int = MIN_JOURNAL_BYTES, on_trouble: Callable[[OSError], None] | None = None
) -> Journal:
    def fail(error: OSError) -> None:
        raise AssertionError(error)

    return Journal(root, max_bytes=max_bytes, on_disk_trouble=on_trouble or fail)


def take(journal: Journal, max_count: int = 1000) -> list[bytes]:
    """Read and acknowledge everything."""
    taken = []
    while batch := list(journal.read(max_count)):
        journal.acknowledge(batch[-1][1], len(batch))
        taken += [payload for payload, _ in batch]
    return taken


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_what_goes_in_comes_out_once_and_in_order(tmp_path: Path) -> None:
    journal = make(tmp_path)
    records = [f"{number}".encode() for number in range(20)]
    for record in records:
        journal.append(record)
    assert journal.pending == 20
    assert take(journal, 7) == records
    assert (journal.pending, journal.appended, journal.settled) == (0, 20, 20)
    assert take(journal) == []


def test_records_cross_segments(tmp_path: Path) -> None:
    journal = make(tmp_path)
    records = [bytes([number]) * 40_000 for number in range(7)]
    for record in records:
        journal.append(record)
    assert take(journal) == records
    assert files(tmp_path) == ["000000000003.journal", LOCK_NAME]


def test_a_batch_that_was_not_acknowledged_is_read_again(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.append(b"one")
    assert list(journal.read(5)) == list(journal.read(5)) != []


def test_the_oldest_are_dropped_and_counted_beyond_the_bound(tmp_path: Path) -> None:
    journal = make(tmp_path)
    for number in range(40):
        journal.append(bytes([number]) * 40_000)
    assert journal.dropped == journal.settled > 0
    kept = take(journal)
    assert [record[0] for record in kept] == list(range(journal.dropped, 40))
    assert journal.size_bytes <= MIN_JOURNAL_BYTES


def test_the_batch_under_way_is_not_dropped(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.append(b"first")
    [(payload, offset)] = journal.read(1)
    for _ in range(40):
        journal.append(BIG)
    assert payload == b"first"
    journal.acknowledge(offset, 1)
    assert journal.dropped == 40 - journal.pending


def test_a_bound_too_small_for_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        make(tmp_path, max_bytes=1000)


def test_nothing_is_left_after_a_clean_end(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.append(b"one")
    take(journal)
    journal.close()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = make(tmp_path)
    assert journal.append(b"one") == 1
    journal.close()
    assert journal.append(b"two") == 0


def test_the_next_process_adopts_what_was_left(tmp_path: Path) -> None:
    first = make(tmp_path)
    for number in range(5):
        first.append(bytes([number]) * 40_000)
    first.close()
    second = make(tmp_path)
    second.append(b"own")
    second.maintain()
    assert (second.adopted, second.pending) == (5, 6)
    assert [record[:1] for record in take(second)] == [b"\0", b"\1", b"\2", b"\3", b"\4", b"o"]
    assert second.settled == second.appended == 1
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_adopted_records_are_found_while_a_batch_is_under_way(tmp_path: Path) -> None:
    first = make(tmp_path)
    first.append(b"left")
    first.close()
    second = make(tmp_path)
    second.append(b"own")
    [(payload, offset)] = second.read(1)
    second.maintain()
    second.acknowledge(offset, 1)
    assert payload == b"own"
    assert take(second) == [b"left"]


def test_a_living_process_keeps_its_records(tmp_path: Path) -> None:
    first, second = make(tmp_path), make(tmp_path)
    first.append(b"one")
    second.maintain()
    assert second.adopted == 0
    assert take(first) == [b"one"]


def test_adopted_records_count_towards_the_bound(tmp_path: Path) -> None:
    for _ in range(8):
        left = make(tmp_path)
        left.append(BIG)
        left.append(BIG)
        left.close()
    journal = make(tmp_path)
    journal.maintain()
    assert journal.adopted == 16
    assert journal.dropped == 16 - journal.pending > 0
    assert journal.size_bytes <= MIN_JOURNAL_BYTES
    assert journal.settled == 0


def test_a_folder_without_records_is_swept_away(tmp_path: Path) -> None:
    dead = Claim.create(tmp_path)
    (dead.folder / "000000000001.journal").write_bytes(b"")
    (tmp_path / "without-a-lock").mkdir()
    (tmp_path / "a-file").touch()
    dead.forget()
    journal = make(tmp_path)
    journal.maintain()
    assert journal.adopted == 0
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"]


def test_a_file_removed_by_somebody_is_counted_as_dropped(tmp_path: Path) -> None:
    journal = make(tmp_path)
    for _ in range(5):
        journal.append(BIG)
    for path in tmp_path.rglob("*.journal"):
        path.unlink()
    assert list(journal.read(10)) == []
    assert journal.dropped > 0
    assert len(take(journal)) + journal.dropped == journal.settled == 5


def test_without_a_folder_records_wait_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    troubles = Troubles()
    journal = make(tmp_path / "file", on_trouble=troubles.append)
    journal.append(b"one")
    assert troubles
    assert not journal.is_on_disk
    journal.maintain()
    assert take(journal) == [b"one"]


def test_memory_is_bounded_too_and_what_is_lost_at_the_end_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MEMORY_MAX_BYTES", 600_000)
    (tmp_path / "file").touch()
    journal = make(tmp_path / "file", max_bytes=64 * MIN_JOURNAL_BYTES, on_trouble=Troubles().append)
    for _ in range(40):
        journal.append(BIG)
    assert journal.size_bytes <= 600_000
    dropped, pending = journal.dropped, journal.pending
    assert dropped + pending == 40
    journal.close()
    assert journal.dropped == 40


def test_the_disk_is_used_again_when_it_is_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.touch()
    journal = make(root, on_trouble=Troubles().append)
    journal.append(b"in memory")
    root.unlink()
    journal.maintain()
    assert journal.is_on_disk
    journal.append(b"on disk")
    assert take(journal) == [b"in memory", b"on disk"]


def test_a_file_system_without_locks_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> bool:
        raise OSError("no locks here")

    monkeypatch.setattr("ingest.record.claim._try_lock", refuse)
    journal = make(tmp_path, on_trouble=Troubles().append)
    assert not journal.is_on_disk
    assert list(tmp_path.iterdir()) == []


def test_the_next_segment_is_made_before_it_is_needed(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.append(BIG)
    journal.append(BIG)
    journal.maintain()
    journal.maintain()
    made = files(tmp_path)
    journal.append(BIG)
    journal.append(BIG)
    journal.append(BIG)
    assert len(made) == 3
    take(journal)
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_finalizer_that_records_while_the_journal_is_busy_does_not_block(tmp_path: Path) -> None:
    journal = make(tmp_path)

    class Leaving:
        def __init__(self) -> None:
            self.circle = self

        def __del__(self) -> None:
            journal.append(b"from a finalizer")

    Leaving()
    with journal._lock:
        gc.collect()
    assert take(journal) == [b"from a finalizer"]


def test_a_claim_that_was_swept_away_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []
    lock = Claim._lock.__func__  # type: ignore[attr-defined]  # the function below the class method

    def swept_away_once(cls: type[Claim], folder: Path) -> Claim | None:
        attempts.append(folder)
        if len(attempts) == 1:
            folder.rmdir()
        if len(attempts) == 2:
            return None
        return lock(cls, folder)  # type: ignore[no-any-return]  # reached by way of __func__

    monkeypatch.setattr(Claim, "_lock", classmethod(swept_away_once))
    assert Claim.create(tmp_path).folder == attempts[2]


def test_a_folder_that_can_never_be_locked_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.record.claim._try_lock", lambda _: False)
    with pytest.raises(OSError, match="could be locked"):
        Claim.create(tmp_path)


class JournalMachine(RuleBasedStateMachine):
    """Appends, deliveries, crashes and adoptions in any order: every record comes out once, or is still there."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile
        from pathlib import Path

        self._folder = tempfile.TemporaryDirectory()
        self.root = Path(self._folder.name)
        self.journal = make(self.root)
        self.expected: list[bytes] = []
        self.taken: list[bytes] = []
        self.number = 0

    @rule(size=st.integers(min_value=1, max_value=30_000))
    def append(self, size: int) -> None:
        record = f"{self.number}:".encode() + b"x" * size
        self.number += 1
        if sum(len(kept) for kept in self.expected) + size < MIN_JOURNAL_BYTES // 4:
            self.journal.append(record)
            self.expected.append(record)

    @rule(count=st.integers(min_value=1, max_value=5))
    def deliver(self, count: int) -> None:
        batch = list(self.journal.read(count))
        if batch:
            self.journal.acknowledge(batch[-1][1], len(batch))
            for payload, _ in batch:
                self.expected.remove(payload)

    @precondition(lambda self: self.number)
    @rule()
    def crash(self) -> None:
        self.journal.abandon()
        self.journal = make(self.root)
        self.journal.maintain()

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = make(self.root)
        self.journal.maintain()

    @rule()
    def maintain(self) -> None:
        self.journal.maintain()

    @invariant()
    def nothing_is_lost_and_nothing_comes_twice(self) -> None:
        assert self.journal.pending == len(self.expected)
        assert self.journal.dropped == 0

    def teardown(self) -> None:
        assert sorted(take(self.journal)) == sorted(self.expected)
        self.journal.close()
        assert list(self.root.iterdir()) == []
        self._folder.cleanup()


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = hypothesis_settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_a_segment_that_cannot_be_removed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    troubles = Troubles()
    journal = make(tmp_path, on_trouble=troubles.append)
    journal.append(b"one")
    take(journal)

    def refuse(_: Segment) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(Segment, "delete", refuse)
    journal.close()
    assert [str(trouble) for trouble in troubles] == ["no"]
