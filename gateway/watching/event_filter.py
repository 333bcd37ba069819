"""The filter of a watch of many things: which events of the tenant's log it sends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from earmark.storage.records import Event


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Selects the events of these resources. Every other part that is empty matches all of them.

    `statuses`: of the resource after the event. `kinds`: fields of the oneof of the event's message.
    """

    resources: frozenset[str]
    dataset_ids: frozenset[UUID] = frozenset()
    statuses: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def covers(self, event: Event) -> bool:
        """Whether the event is about one of the resources, in one of the datasets."""
        return event.resource in self.resources and (
            not self.dataset_ids or event.dataset_id in self.dataset_ids
        )

    def selects(self, event: Event) -> bool:
        """Whether the watch sends the event."""
        return (
            self.covers(event)
            and (not self.statuses or event.status in self.statuses)
            and (not self.kinds or not self.kinds.isdisjoint(event.body))
            and self.metadata.items() <= event.metadata.items()
        )
