"""The one recorder of a process: started once, stopped at exit, restarted in a forked child."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.database import Database
    from ingest.record.last_call import RecordedCall
    from ingest.record.recorder import Limits, Recorder
    from ingest.settings import Settings

_EXIT_TIMEOUT_S = 5.0
_IMPORT_TIMEOUT_S = 10.0


class Scope(Protocol):
    """What a call belongs to that began in it, where that is not the process."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is recorded of its calls any more."""
        ...


class Process:
    """Holds the recorder of the running process.

    Attributes:
        recorder: The running recorder; None before the first event, after `stop`, and where recording is off.
        is_off: Whether `ENABLE_OBSERVABILITY` is false.
        user_from_request: See `configure`.
        on_record: See `configure`.
        sources: What holds calls that are not events yet; each records them in the seconds given.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None
        self.is_off = False
        self.user_from_request = False
        self.on_record: Callable[[RecordedCall], object] | None = None
        self.sources: list[Callable[[float], None]] = []
        self._make: Callable[[], Recorder | None] = make_from_environment
        self._lock = threading.RLock()
        self._has_hooks = False
        self._holds_imports = False

    def configure(self, make: Callable[[], Recorder | None]) -> None:
        """Replace the recorder by the one that `make` returns; None turns recording off."""
        with self._lock:
            self.stop(_EXIT_TIMEOUT_S, is_patient=False)
            self._make = make
            self.is_off = False
            self.start()

    def start(self) -> Recorder | None:
        """Return the recorder, made now if there is none; None where recording is off."""
        with self._lock:
            if self.recorder is None and not self.is_off:
                self._install_hooks()
                recorder = self._make()
                self.is_off = recorder is None
                if recorder is not None:
                    recorder.start()
                self.recorder = recorder
            return self.recorder

    def stop(self, timeout_s: float, *, is_patient: bool) -> bool:
        """Stop the recorder; what is recorded afterwards starts a new one."""
        with self._lock:
            recorder, self.recorder = self.recorder, None
        return recorder is None or recorder.shutdown(timeout_s, is_patient=is_patient)

    def scope(self) -> Scope | None:
        """Return what a call that begins now belongs to; None: it is recorded whenever it ends."""
        return None

    def settle(self, timeout_s: float) -> None:
        """Record every call that is not an event yet."""
        for settle in self.sources:
            settle(timeout_s)

    def _stop_at_exit(self) -> None:
        self.settle(_EXIT_TIMEOUT_S)
        self.stop(_EXIT_TIMEOUT_S, is_patient=False)

    def _install_hooks(self) -> None:
        if self._has_hooks:
            return
        self._has_hooks = True
        # A process should not hang at exit because the database is unreachable: the next one delivers.
        atexit.register(self._stop_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._after_fork_in_child
            )

    def _before_fork(self) -> None:
        from ingest.record.recorder import IMPORT_LOCK

        self._lock.acquire()
        self._holds_imports = IMPORT_LOCK.acquire(timeout=_IMPORT_TIMEOUT_S)

    def _after_fork(self) -> None:
        from ingest.record.recorder import IMPORT_LOCK

        if self._holds_imports:
            IMPORT_LOCK.release()
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            recorder.abandon()
        self._after_fork()


def make_from_environment() -> Recorder | None:
    """Create the recorder without `configure`; a wrong setting is logged, and the journal keeps all events."""
    import platformdirs

    from ingest.record.recorder import Limits, Recorder, raising
    from ingest.settings import load_settings

    try:
        settings = load_settings()
    except ConfigurationError as error:
        logging.getLogger("treering").error("events are kept in the journal until this is fixed: %s", error)
        home = os.environ.get("TREERING_HOME") or platformdirs.user_data_path("treering", appauthor=False)
        return Recorder(Path(home).expanduser().absolute(), raising(error), limits=Limits())
    return make_recorder(settings, None, Limits())


def make_recorder(
    settings: Settings, database: Database | Callable[[], Database] | None, limits: Limits
) -> Recorder | None:
    """Make a recorder; None where the settings turn recording off.

    Args:
        settings: Home, what prices depend on, and the database where none is given.
        database: A database that stays open afterwards, or a function that opens one.
        limits: Sizes and times.
    """
    from ingest.record.recorder import KeepOpen, Recorder, opening

    if not settings.enable_observability:
        return None
    if database is None:
        open_database = opening(settings)
    elif callable(database):
        open_database = database
    else:
        kept_open = KeepOpen(database)

        def open_database() -> Database:
            return kept_open

    return Recorder(
        settings.home,
        open_database,
        fallback_model=settings.fallback_model,
        deployments=settings.deployments,
        providers=settings.providers,
        trusted_costs=settings.trusted_costs,
        region=settings.region,
        tags=settings.tags,
        hash_salt=settings.hash_salt.get_secret_value() if settings.hash_salt is not None else None,
        keeps_blocks=settings.prompt_blocks,
        limits=limits,
    )
