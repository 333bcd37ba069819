"""The rules for a model's state. Each function raises the error that the caller sees."""

from earmark.gateway.errors import AlreadyExistsError, wrong_state
from earmark.storage.records import Model


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
