"""The one exception that a user reads: it names the file or the key, what was expected, and the cure."""


class SmallsetError(Exception):
    """What went wrong, in words for the person who ran the stage."""
