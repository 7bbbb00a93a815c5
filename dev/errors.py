"""The error that ends a development command with one line for the developer, no traceback."""


class DevError(Exception):
    """Its text says what is wrong and what to do; nothing else is printed."""
