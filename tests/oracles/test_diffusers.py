"""Our files through diffusers' own loader, against our network on the same model."""

from __future__ import annotations

from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

from lib_lora.adapters.file import read_lora


def test_diffusers_gives_the_same_outputs(case):
    state, alphas = Loader.lora_state_dict(str(case.path), unet_config=case.model.unet.config)
    assert len(state) == 2 * len(read_lora(case.path).modules), "diffusers knows every layer"
    Loader.load_lora_into_unet(state, alphas, case.model.unet)
    Loader.load_lora_into_text_encoder(state, alphas, case.model.text_encoder)
    errors = case.errors()
    assert errors["unet"] <= 1e-5
    assert errors["te"] <= 1e-5
