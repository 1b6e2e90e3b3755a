"""Every deliberate failure: one class each, with its exit code and its hint.

Exit codes (documented in ``docs/errors.md``): 0 done, 1 error findings, 2 usage or policy, 3 not a
valid wheel or binary, 4 the provider does not fit, 5 the engine failed, 6 this file cannot be
edited, 7 cannot write the output, 70 a bug of ours.
"""

from typing import ClassVar

BUG_EXIT_CODE = 70
BROKEN_PIPE_EXIT_CODE = 141
"""What a shell reports of a program that SIGPIPE ended."""


class ExtlibRepairError(Exception):
    """What went wrong, and (in ``hint``) what the reader can do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class RefusedError(ExtlibRepairError):
    """The plan holds error findings; they have been shown one by one."""


class UsageError(ExtlibRepairError):
    """The command line does not say something that can be done."""

    exit_code = 2


class PolicyError(ExtlibRepairError):
    """A policy file does not follow the schema."""

    exit_code = 2


class HistoryError(ExtlibRepairError):
    """A history file does not follow the schema."""

    exit_code = 2


class UnsupportedError(ExtlibRepairError):
    """Wheels of this kind are not handled."""

    exit_code = 2


class BadWheelError(ExtlibRepairError):
    """The file is not a wheel, or an archive that must not be trusted."""

    exit_code = 3


class BadBinaryError(ExtlibRepairError):
    """The bytes are not a loadable binary of the format that their magic promises."""

    exit_code = 3


class ProviderNotFoundError(ExtlibRepairError):
    """No place that was looked at holds the provider."""

    exit_code = 4


class FetchingError(ExtlibRepairError):
    """The package index does not give what was asked for."""

    exit_code = 4


class ProviderMismatchError(ExtlibRepairError):
    """The provider lacks something that the consumer needs."""

    exit_code = 4


class EngineError(ExtlibRepairError):
    """The engine failed; the message holds its last words, ``log`` all of them."""

    exit_code = 5

    def __init__(self, message: str, *, hint: str | None = None, log: str = "") -> None:
        super().__init__(message, hint=hint)
        self.log = log


class CannotEditError(ExtlibRepairError):
    """A binary or a Python file cannot take the edit that the plan asks for."""

    exit_code = 6


class CannotWriteError(ExtlibRepairError):
    """The output could not be written, or did not read back as planned."""

    exit_code = 7
