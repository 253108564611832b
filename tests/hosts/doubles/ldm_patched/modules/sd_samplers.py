"""A1111's of before 1.9: a schedule is a part of the sampler's name."""

NAMES = ["DPM++ 2M Karras", "Euler a", "Euler", "DDIM"]
samplers_map = {**{name.lower(): name for name in NAMES}, "k_euler": "Euler"}


def visible_sampler_names():
    return list(NAMES)
