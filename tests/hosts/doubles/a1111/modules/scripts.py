"""Which script files were found; ``scripts_data`` has a ``path`` for each."""

AlwaysVisible = object()
scripts_data = []


class Script:
    pass


class ScriptRunner:
    def __init__(self):
        self.alwayson_scripts = []

    def before_process_batch(self, p, **kwargs):
        for script in self.alwayson_scripts:
            script.before_process_batch(p, **kwargs)
