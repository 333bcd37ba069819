"""The rules for a model's state. Each function raises the error that the caller sees."""

from earmark.gateway.errors import (
    AlreadyExistsError,
    PreconditionError,
    QuotaError,
    Violation,
    wrong_state,
)
from earmark.storage.records import Model

MOST_ALIASES = 100
# Retry delay after a quota error: somebody has to remove an alias first.
RETRY_SECONDS = 60.0


def check_not_archived(model: Model) -> None:
    """Raises PreconditionError for an archived model."""
    if model.deleted_at is not None:
        raise wrong_state(
            "model",
            str(model.id),
            "archived",
            f"model {model.id} is archived: undelete it with UndeleteModel first",
        )


def check_archived(model: Model) -> None:
    """Raises AlreadyExistsError for a model that is not archived."""
    if model.deleted_at is None:
        raise AlreadyExistsError("model", str(model.id), f"model {model.id} is not deleted")


def check_usable(model: Model) -> None:
    """Raises PreconditionError for an archived or inactive model, which cannot be used for detection."""
    check_not_archived(model)
    if not model.is_active:
        raise wrong_state(
            "model",
            str(model.id),
            "inactive",
            f"model {model.id} is not active: set is_active with UpdateModel first",
        )


def check_unnamed(model: Model) -> None:
    """Raises PreconditionError for a model that aliases name: what they name can always detect."""
    if model.aliases:
        raise PreconditionError(
            "IN_USE",
            [
                Violation(
                    "IN_USE",
                    f"model_alias/{alias}",
                    f"{alias} names model {model.id}: move it with SetModelAlias, or remove it with "
                    "DeleteModelAlias first",
                )
                for alias in model.aliases
            ],
        )


def check_room_for_alias(model: Model, alias: str) -> None:
    """Raises QuotaError if the model has as many aliases as it may have, and not this one."""
    if alias not in model.aliases and len(model.aliases) >= MOST_ALIASES:
        raise QuotaError(
            "model/aliases",
            MOST_ALIASES,
            f"model {model.id} has {len(model.aliases)} aliases already, as many as a model may have: "
            "remove some with DeleteModelAlias",
            RETRY_SECONDS,
        )
