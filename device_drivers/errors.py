"""The exceptions of this package, under one root, grouped by who must handle them."""


class DriverError(Exception):
    """Root of what this package raises."""


class InvalidValueError(DriverError, ValueError):
    """A value breaks a rule: its maker has to make another; the message says what was got and wanted."""


class UnfitError(InvalidValueError):
    """Whoever dialled is not what the settings say: these may be wrong, or another may dial next."""


class DeviceError(DriverError):
    """A device did not do, or did not answer, what it was asked. The runtime handles it: failsafe."""


class LinkLost(DriverError):  # noqa: N818 - what happened to the link, in the field's words
    """The stream to the controller ended or fell silent. Whoever runs the client connects again.

    Parameters
    ----------
    reason : str
        What happened.
    after_s : float, optional
        s after which the controller wants to be asked again, and not before; None where it did not say.
    """

    def __init__(self, reason: str, *, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s
