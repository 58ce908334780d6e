"""Everything that can go wrong on our side of Slurm, as one tree (Slurm's own is ``tools.slurm.errors``).

    AssistantError
    ├── ConfigError             a setting that cannot be used
    ├── RequestRefused          an empty, over-long or unreadable request
    ├── ModelError
    │   ├── ModelUnreachable    no server answers at the URL
    │   ├── ModelTimeout        it did not answer in time
    │   └── ModelRefused        it answered with an HTTP error
    ├── ServingError            the engine could not be started
    ├── ServerFailed            an MCP server that lends its tools is away, silent, or breaks the protocol
    └── JournalError            the journal cannot be read or written

Each carries ``remedy``: the one thing to do next.
"""

from __future__ import annotations


class AssistantError(Exception):
    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class ConfigError(AssistantError):
    exit_code = 2


class RequestRefused(AssistantError):
    exit_code = 2


class ModelError(AssistantError):
    exit_code = 4


class ModelUnreachable(ModelError):
    pass


class ModelTimeout(ModelError):
    pass


class ModelRefused(ModelError):
    def __init__(self, message: str, remedy: str = "", status: int = 0) -> None:
        super().__init__(message, remedy)
        self.status = status


class ServerFailed(AssistantError):
    """Never ends a request: it becomes the outcome of one call."""


class ServingError(AssistantError):
    exit_code = 4


class JournalError(AssistantError):
    exit_code = 5
