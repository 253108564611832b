"""Forge-Classic and reForge from outside: samplers that know no schedules apart, and images as the user gets them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest
from tests.hosts.cells import CELLS, are_one_by_one
from tests.hosts.common import visible_network

HAT = GenerationRequest("1girl, red hat", "blurry", width=64, height=64, steps=2, seed=5)


def users_picture(sampler: str) -> Any:
    from modules import processing, scripts

    p = processing.StableDiffusionProcessingTxt2Img(
        prompt=HAT.prompt, negative_prompt=HAT.negative, width=64, height=64, steps=2, seed=5, sampler_name=sampler
    )
    p.scripts = scripts.ScriptRunner()
    return processing.process_images(p).images[0]


@pytest.mark.parametrize(
    ("wanted", "sampler"), [("DPM++ 2M Karras", "DPM++ 2M Karras"), ("euler", "Euler"), ("k_euler", "Euler")]
)
def test_an_image_is_what_the_user_gets(host, wanted, sampler):
    image = host.generate([replace(HAT, sampler=wanted)])[0]
    assert image.tobytes() == users_picture(sampler).tobytes()
    assert f"Sampler: {sampler}," in image.info["parameters"]


def test_an_unknown_sampler_is_refused(host):
    with pytest.raises(UserError, match="no such sampler: Euler Exponential"):
        host.generate([replace(HAT, sampler="Euler Exponential")])


def test_a_sample_with_a_network_while_it_trains(host):
    network = visible_network(host)
    plain = host.generate([HAT])[0]
    with host.training_session():
        assert host.generate([HAT], [network])[0].tobytes() != plain.tobytes()
        assert host.generate([HAT])[0].tobytes() == plain.tobytes()
    assert host.generate([HAT])[0].tobytes() == plain.tobytes()


def test_cells_of_a_grid_in_one_batch(host):
    assert are_one_by_one(host, CELLS, [visible_network(host)]) == [3]
