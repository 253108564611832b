from __future__ import annotations

import json

from lib_lora.adapters import NetworkSpec, metadata
from lib_lora.models.families import family


def test_kohya_values_are_text():
    got = metadata.kohya({"seed": 1, "vae_name": None, "tag_frequency": {"a": {"雪": 2}}, "lowram": False})
    assert got == {
        "ss_seed": "1",
        "ss_vae_name": "None",
        "ss_tag_frequency": '{"a": {"雪": 2}}',
        "ss_lowram": "False",
    }


def test_network():
    plain = metadata.network(NetworkSpec(rank=8, alpha=4.0))
    assert plain == {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "8",
        "ss_network_alpha": "4.0",
        "ss_network_args": "{}",
    }
    locon = metadata.network(NetworkSpec(conv_rank=4, conv_alpha=1.0))
    assert json.loads(locon["ss_network_args"]) == {"conv_dim": "4", "conv_alpha": "1.0"}


def test_what_kohya_cannot_is_told_as_lycoris():
    oft = metadata.network(NetworkSpec("oft", 8, constraint=0.01))
    assert oft["ss_network_module"] == "lycoris.kohya"
    assert json.loads(oft["ss_network_args"]) == {"algo": "diag-oft", "constraint": "0.01"}
    dora = metadata.network(NetworkSpec("lora", 8, dora=True, rs_lora=True))
    assert json.loads(dora["ss_network_args"]) == {"algo": "locon", "dora_wd": "True", "rs_lora": "True"}


def test_the_hosts_find_the_family():
    got = metadata.base_model(family("sd1"), "epsilon")
    assert got["ss_base_model_version"] == "sd_v1"
    assert got["ss_v2"] == "False"
    assert got["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert got["modelspec.prediction_type"] == "epsilon"


def test_modelspec_leaves_out_what_is_unknown():
    assert metadata.modelspec(title="x", author=None) == {"modelspec.title": "x"}
