"""What Forge's parts tell each other."""

dynamic_args: dict[str, object] = {}
