"""The command line: one file per verb; `main` holds the table of verbs.

A verb imports what it needs inside its function, so that `--help` is instant.
"""
