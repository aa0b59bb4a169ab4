"""Who runs this process, as the operating system says."""

import os
import pwd


def user_name() -> str:
    """The user's name; its number where it has none, as in some containers."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
