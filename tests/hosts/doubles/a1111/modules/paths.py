"""The fixture points these at a temporary folder."""

data_path = models_path = script_path = ""
