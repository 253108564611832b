"""Tags as text, and what can be done to a list of them. Knows no files."""
