"""The settings of a run, one file a group; ``training/config.py`` puts them together."""
