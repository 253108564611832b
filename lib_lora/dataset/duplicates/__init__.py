"""Near-duplicates: copies to be set aside, and variants (same picture, other expression) to be counted as one."""
