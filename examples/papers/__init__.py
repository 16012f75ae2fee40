"""Results of the field, measured again: one script a paper.

Each prints what was published beside what was measured, draws its figure and says what
was scaled down:

    python -m examples.papers.he_2015 [--quick]

A result that does not reproduce is shown as such; `--check` makes it exit status 1.
"""
