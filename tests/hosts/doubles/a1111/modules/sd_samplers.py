NAMES = ["DPM++ 2M", "Euler a", "Euler", "DDIM"]
SCHEDULES = ["Automatic", "Karras", "Exponential"]


def visible_sampler_names():
    return list(NAMES)


def get_sampler_and_scheduler(sampler_name, scheduler_name):
    schedule = scheduler_name or SCHEDULES[0]
    for known in SCHEDULES:
        if sampler_name.endswith(f" {known}"):
            sampler_name, schedule = sampler_name[: -len(known) - 1], known
    return (sampler_name if sampler_name in NAMES else NAMES[0]), schedule
