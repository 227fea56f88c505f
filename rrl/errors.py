"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """What was found, where, what is allowed and what to do, in one line; shown without a traceback."""
