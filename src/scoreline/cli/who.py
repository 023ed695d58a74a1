"""Who uses the command line."""

import os
import pwd


def user() -> str:
    """Who acts, for the record: by the process's user, not by what its environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"user {os.getuid()}"
