"""Samplers with a model that knows the answer: they end at it, from the noise that the model was trained on."""

from __future__ import annotations

import pytest
import torch

from lib_lora.hosts.standalone.model import StandaloneModel
from lib_lora.hosts.standalone.samplers import SAMPLERS
from lib_lora.hosts.standalone.sampling import sample
from lib_lora.models.base import GenerationRequest

STEPS = 4  # whole timesteps where they are spread evenly: 999, 666, 333 and 0
LATENT = torch.linspace(-1, 1, 4 * 8 * 8).reshape(1, 4, 8, 8)


class Knowing(StandaloneModel):
    """Predicts v for ``LATENT``, whatever it is shown."""

    def predict(self, x_t, t, cond):
        alpha = self.schedule.alphas_cumprod[t.long()].reshape(-1, 1, 1, 1)
        noise = (x_t - alpha.sqrt() * LATENT) / (1 - alpha).sqrt()
        return alpha.sqrt() * noise - (1 - alpha).sqrt() * LATENT


@pytest.mark.parametrize("zero_terminal", [False, True])
@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if "Karras" not in name])
def test_the_answer_is_reached(tiny_host, sampler, zero_terminal):
    with tiny_host.training_session() as m:
        model = Knowing(m.name, m.path, m.unet, m.vae, m.text_encoder, "v", zero_terminal)
    request = GenerationRequest("girl", width=64, height=64, steps=STEPS, sampler=sampler, seed=3)
    torch.testing.assert_close(sample(model, [request]), LATENT, atol=0.1, rtol=0)  # DDIM keeps the noise of timestep 0
