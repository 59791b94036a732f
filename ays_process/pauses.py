"""Pauses before a process that has died is started again."""

FIRST_SECONDS, LONGEST_SECONDS, HEALTHY_SECONDS = 0.5, 30.0, 60.0


class Pauses:
    """Twice as long each time, from the beginning again after a death that came late.

    Attributes:
        deaths: deaths in a row.
    """

    def __init__(self) -> None:
        self.deaths = 0

    def after(self, seconds: float) -> float:
        """The pause after a death.

        Args:
            seconds: how long the process has lived.
        """
        self.deaths = 1 if seconds > HEALTHY_SECONDS else self.deaths + 1
        return float(min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** (self.deaths - 1)))
