"""What Neo's parts tell each other."""


class dynamic_args:
    ref_latents: list[object] = []  # noqa: RUF012
