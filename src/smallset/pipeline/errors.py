"""The exception whose message is for the user: it says what was expected, what was found, and the fix."""


class SmallsetError(Exception):
    """An error that the user can fix; commands and stages print its message without a traceback."""
