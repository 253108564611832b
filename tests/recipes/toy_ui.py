"""The toy web UI, as far as it is recognised: by this module."""
