"""Where faces are, by whatever detector can be imported; none is installed for it."""
