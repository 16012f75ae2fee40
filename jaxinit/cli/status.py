"""What the exit status says, and what an interrupt is told to have interrupted."""

HEALTHY, FINDINGS, USAGE, INTERRUPTED = 0, 1, 2, 130


class Doing:
    """What is going on, in words that follow "interrupted"."""

    what = "while reading the command line"
