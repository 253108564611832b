"""What a run's learning rate and noise levels will be, as pictures beside the settings."""

from __future__ import annotations

from lib_lora.training.config import TrainConfig
from lib_lora.training.lr_schedule import lr_curve
from lib_lora.training.timesteps import density, flow_density, flow_shift
from lib_lora.ui.charts import SMALL, Axes, figure

STEPS = 1000  # of the picture: the shape does not depend on how many a run really has
TIMESTEPS = 1000  # of all models of this kind
LATENT_FACTOR = 8


def lr_chart(config: TrainConfig) -> str:
    """The rates of U-Net and text encoder over the run."""
    curve = [(100 * (step + 1) / STEPS, factor) for step, factor in lr_curve(config, STEPS)]
    rates = [("U-Net", "lw-line-a", config.unet_lr), ("text encoder", "lw-line-b", config.te_lr)]
    drawn = [(name, css, [(x, rate * factor) for x, factor in curve]) for name, css, rate in rates if rate > 0]
    if not drawn:
        return ""
    values = [y for _, _, points in drawn for _, y in points]
    axes = Axes([0.0, 100.0], [0.0, *values], size=SMALL)
    lines = "".join(axes.line(points, css) for _, css, points in drawn)
    names = [(css, f"{name}, at most {max(y for _, y in points):.3g}") for name, css, points in drawn]
    return figure(axes.frame("") + lines, "Learning rate, from the start (0 %) to the end (100 %)", names, size=SMALL)


def timestep_chart(config: TrainConfig) -> str:
    """How often each noise level is drawn, against an even distribution."""
    side = config.resolution // LATENT_FACTOR
    drawn = density(config, TIMESTEPS) if config.flow_shift == 1 else flow_density(config, TIMESTEPS, side, side)
    chance = drawn * TIMESTEPS
    points = [(float(t), float(chance[t])) for t in (*range(0, TIMESTEPS, 5), TIMESTEPS - 1)]
    axes = Axes([0.0, float(TIMESTEPS)], [0.0, *(y for _, y in points)], size=SMALL)
    title = "How often each timestep is trained (1: evenly); left details, right composition"
    flow = "" if config.flow_shift == 1 else f", shifted by {flow_shift(config, side, side):.3g} (rectified flow)"
    name = f"{config.timestep_distribution}{flow}"
    return figure(axes.frame("") + axes.line(points, "lw-line-a"), title, [("lw-line-a", name)], size=SMALL)


def curves(config: TrainConfig) -> str:
    """Both beside each other."""
    return f'<div class="lw-pair">{lr_chart(config)}{timestep_chart(config)}</div>'
