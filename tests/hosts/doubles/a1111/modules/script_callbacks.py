callbacks = {"ui_tabs": [], "app_started": [], "ui_settings": [], "before_ui": []}


def on_ui_tabs(callback, *, name=None):
    callbacks["ui_tabs"].append(callback)


def on_app_started(callback, *, name=None):
    callbacks["app_started"].append(callback)


def on_ui_settings(callback, *, name=None):
    callbacks["ui_settings"].append(callback)


def on_before_ui(callback, *, name=None):
    callbacks["before_ui"].append(callback)
