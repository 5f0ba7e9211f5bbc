"""The exceptions of the controller, under one root, grouped by who must handle them."""


class ControllerError(Exception):
    """Root of what this package raises."""


class InputError(ControllerError, ValueError):
    """A file or an argument from a person is wrong; the message says where, what was got and what was wanted."""


class StoreError(ControllerError, RuntimeError):
    """The database cannot be opened, read or written."""


class StoreUnavailableError(StoreError):
    """The database does not answer, is full or is somebody else's for now: what was asked for may be asked again."""


class TransitionError(ControllerError, RuntimeError):
    """A window was asked to take a step that its state does not allow."""
