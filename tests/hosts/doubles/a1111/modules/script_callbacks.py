callbacks = {"ui_tabs": [], "app_started": []}


def on_ui_tabs(callback, *, name=None):
    callbacks["ui_tabs"].append(callback)


def on_app_started(callback, *, name=None):
    callbacks["app_started"].append(callback)
