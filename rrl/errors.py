"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """What was found, where, what is allowed and what to do; a line for each argument, shown without a traceback."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))
