"""Finds the trainers' addresses: those written in EARMARK_TRAINERS, and those behind its names."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import structlog

from earmark.gateway.fleet.addresses import Entry, Resolver, parse

RESOLVE_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Discovery:
    """The entries of EARMARK_TRAINERS and the addresses that each of them has."""

    def __init__(self, entries: Sequence[str], resolve: Resolver, on_change: Callable[[], None]) -> None:
        """`entries`: see `addresses.parse`, which raises ValueError.

        `on_change` is called when the addresses or the problems may have changed.
        """
        self._resolve = resolve
        self._on_change = on_change
        # A name keeps its last addresses while it cannot be resolved.
        self._addresses: dict[Entry, Sequence[str]] = {
            entry: () if entry.is_name else (str(entry),) for entry in map(parse, entries)
        }
        # The names that could not be resolved the last time, each with the reason.
        self._problems = {entry: "not resolved yet" for entry in self._addresses if entry.is_name}

    def entries(self) -> tuple[str, ...]:
        return tuple(map(str, self._addresses))

    def names(self) -> list[Entry]:
        """The entries to pass to `follow`."""
        return [entry for entry in self._addresses if entry.is_name]

    def addresses(self) -> Sequence[str]:
        """The addresses of all entries, each once."""
        return list(dict.fromkeys(chain.from_iterable(self._addresses.values())))

    def without_address(self) -> Mapping[str, str]:
        """The names that have never been resolved, each with the reason."""
        return {
            str(entry): problem for entry, problem in self._problems.items() if not self._addresses[entry]
        }

    async def follow(self, entry: Entry) -> None:
        """Resolves a name every RESOLVE_SECONDS. An answer that fails or is empty removes no address."""
        while True:
            try:
                addresses, problem = await self._resolve(entry.host, entry.port), "it has no address"
            except OSError as error:
                addresses, problem = (), error.strerror or str(error)
            if addresses:
                self._record_addresses(entry, addresses)
            else:
                self._record_problem(entry, f"cannot be resolved: {problem}")
            await asyncio.sleep(RESOLVE_SECONDS)

    def _record_addresses(self, entry: Entry, addresses: Sequence[str]) -> None:
        if self._problems.pop(entry, None):
            log.info("name is resolved", name=str(entry), trainers=addresses)
        if addresses != self._addresses[entry]:
            self._addresses[entry] = addresses
            self._on_change()

    def _record_problem(self, entry: Entry, problem: str) -> None:
        if self._problems.get(entry) != problem:
            self._problems[entry] = problem
            kept = self._addresses[entry]
            log.warning("name is not resolved; trainers stay", name=str(entry), reason=problem, trainers=kept)
            self._on_change()
