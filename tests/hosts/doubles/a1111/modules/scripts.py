"""Which script files were found; ``scripts_data`` has a ``path`` for each."""

AlwaysVisible = object()
scripts_data = []


class Script:
    pass
