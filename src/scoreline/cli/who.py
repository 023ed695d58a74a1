"""Who uses the command line."""

import getpass


def user() -> str:
    """Who acts, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
