"""What stops a development command: one line that says what to do, and no traceback."""


class DevError(Exception):
    """Its text is the whole message."""
