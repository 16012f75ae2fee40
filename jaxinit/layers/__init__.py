"""Where parameters meet data: the layers of a program."""
