"""An unknown name together with the names that there are, as far as slurmrestd answers."""

from __future__ import annotations

from tools.slurm.backend import Backend
from tools.slurm.errors import SlurmError, UnknownName


def explained(error: SlurmError, backend: Backend, user: str) -> SlurmError:
    """The same error with ``valid``; other errors, and those whose names cannot be had, as they are."""
    if not isinstance(error, UnknownName) or error.valid:
        return error
    try:
        valid = _names(error.code, backend, user)
    except SlurmError:
        return error
    if not valid:
        return error
    return UnknownName(f"{error.message} (there are: {', '.join(valid)})", code=error.code, valid=valid)


def require_partition(name: str, backend: Backend) -> None:
    """Raises ``UnknownName`` where one of the comma-separated names is no partition."""
    valid = [partition.name for partition in backend.partitions()]
    if missing := [part for part in name.split(",") if part not in valid]:
        raise UnknownName(
            f"no partition {', '.join(missing)} (there are: {', '.join(valid)})",
            code="ESLURM_INVALID_PARTITION_NAME",
            valid=valid,
        )


def _names(code: str, backend: Backend, user: str) -> list[str]:
    match code:
        case "ESLURM_INVALID_PARTITION_NAME":
            return [partition.name for partition in backend.partitions()]
        case "ESLURM_INVALID_QOS":
            return [qos.name for qos in backend.qos()]
        case "ESLURM_INVALID_ACCOUNT":
            return sorted({row.account for row in backend.associations(user)})
        case "ESLURM_INVALID_NODE_NAME":
            return [node.name for node in backend.nodes()]
        case "ESLURM_INVALID_LICENSES":
            return list(backend.licenses())
        case "ESLURM_INVALID_FEATURE":
            return sorted({feature for node in backend.nodes() for feature in node.features})
        case "ESLURM_RESERVATION_INVALID":
            return backend.reservations()
    return []
