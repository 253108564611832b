"""Files as other trainers' users have them: what they mean, and what in them cannot be read."""

from __future__ import annotations

import sys

import pytest

from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import config_to_toml
from lib_lora.training.importers import import_config
from lib_lora.training.importers.report import CANNOT_BE_READ, IGNORED, UNKNOWN, Imported


def unreadable(found: Imported) -> set[str]:
    return {line.key for line in found.with_outcome(IGNORED) if line.text.startswith(CANNOT_BE_READ)}


BOTH = {"weight_decay": 0.45, "beta1": 0.9, "beta2": 0.95}


@pytest.mark.parametrize(
    "arguments",
    [
        "weight_decay=0.45 betas=0.9,0.95",
        "weight_decay=0.45 betas =0.9, 0.95",
        "betas=(0.9, 0.95) weight_decay=0.45",
        'weight_decay=0.45 "betas=(0.9, 0.95)"',
        '"weight_decay=0.45" "betas=0.9,0.95"',
        "weight_decay=0.45, betas=[0.9,0.95]",
        "weight_decay=0.45;\nbetas=0.9 0.95",
        "--weight_decay=0.45 --betas=0.9,0.95",
        "betas=(0.9, 0.95 weight_decay=0.45",
        ["weight_decay=0.45", "betas=(0.9, 0.95)"],
        ["weight_decay = 0.45", "betas = 0.9,0.95"],
        ["weight_decay=0.45 betas=0.9,0.95"],
        {"weight_decay": "0.45", "betas": "0.9,0.95"},
        {"weight_decay": "0,45", "betas": [0.9, 0.95]},
        "{'weight_decay': 0.45, 'betas': (0.9, 0.95)}",
        '["weight_decay=0.45", "betas=0.9,0.95"]',
    ],
)
def test_every_spelling_of_optimizer_arguments(imported, arguments):
    gui = {"LoRA_type": "Standard", "optimizer": "AdamW", "optimizer_args": arguments}
    toml = {"network_dim": 8, "optimizer_type": "AdamW", "optimizer_args": arguments}
    for document in (gui, toml):
        found = imported(document)
        assert BOTH.items() <= found.values.items() and found.values["optimizer_args"] == ""
        assert not unreadable(found) and not found.with_outcome(UNKNOWN)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [("weight_decay=much betas=0.9,0.95", "optimizer_args.weight_decay"),
     ("betas=0.95 weight_decay=0.45", "optimizer_args.betas"),
     ("fast weight_decay=0.45 betas=0.9,0.95", "optimizer_args")],
)  # fmt: skip
def test_a_bad_argument_costs_itself_alone(imported, arguments, key):
    found = imported({"network_dim": 8, "optimizer_args": arguments})
    assert unreadable(found) == {key}
    bad = {"optimizer_args.weight_decay": ["weight_decay"], "optimizer_args.betas": ["beta1", "beta2"]}.get(key, [])
    assert all(found.values[name] == value for name, value in BOTH.items() if name not in bad)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('text_encoder_lr = [5e-5, 1e-5]', {"te_lr": 5e-5}),
        ('text_encoder_lr = []', {"te_lr": 1e-4}),
        ('text_encoder_lr = "5e-5 1e-5"', {"te_lr": 5e-5}),
        ('unet_lr = "0,0003"', {"unet_lr": 3e-4}),
        ('lr_warmup_steps = "10%"', {"warmup": 0.1, "schedule": "constant_with_warmup"}),
        ('network_args = ["conv_dim=", "dropout=None", "rank_dropout=0.1"]', {"conv_rank": 0, "rank_dropout": 0.1}),
        ('network_alpha = 0', {"alpha": 8.0}),
        ('resolution = "(512, 768)"', {"resolution": 624}),
        ('shuffle_caption = "false"\nflip_aug = "True"', {"shuffle": False, "flip": True}),
        ('train_data_dir = "C:\\Users\\me\\5_pics"', {"data_dir": "C:\\Users\\me\\5_pics"}),
        ('epoch = 7', {"epochs": 7, "max_steps": 0}),
        ('epoch = 7\nmax_train_steps = 1500', {"epochs": None, "max_steps": 1500}),
        ('epoch = 7\nmax_train_steps = 0', {"epochs": 7, "max_steps": 0}),
        ('save_every_n_steps = 500', {"save_every_n_steps": 500, "save_every_n_epochs": 0, "max_steps": 1600}),
        ('epoch = 7\nmax_train_epochs = 9', {"epochs": 9}),
        ('save_precision = "float"', {"save_precision": "fp32"}),
        ('pretrained_model_name_or_path = "/m/NAI-v1.5.safetensors"', {"model": "NAI-v1.5"}),
        ('network_module = "lycoris.kohya"', {"conv_rank": 8, "conv_alpha": 4.0}),
        ('network_module = "lycoris.kohya"\nnetwork_args = ["preset=attn-mlp"]', {"conv_rank": 0}),
        ('network_module = "networks.lora_zimage"', {"algorithm": "lora"}),
        ('seed = -1', {"seed": None}),
        ('caption_extension = "txt"', {"caption_extension": ".txt"}),
    ],
)  # fmt: skip
def test_what_a_line_means(imported, line, expected):
    given = "" if "alpha" in line else "network_alpha = 4\n"
    found = imported(f"network_dim = 8\nlearning_rate = 1e-4\n{given}{line}\n")
    assert {name: found.values.get(name) for name in expected} == expected
    assert not unreadable(found)


@pytest.mark.parametrize(
    "line",
    ["max_train_epochs = 2.5", 'max_train_epochs = "1,000"', "unet_lr = -1", 'loss_type = "l3"', "keep_tokens = [1, 2]",
     "max_token_length = 100", 'resolution = "wide"', 'dataset_repeats = "ten"', 'seed = "abc"', "noise_offset = nan",
     "max_train_epochs = " + "9" * 5000, 'output_name = "a\\u0000b"', "shuffle_caption = 7", "flip_aug =",
     "epoch = 5 5",
     'optimizer_args = 5', "lr_scheduler_args = ['num_cycles=0.5']", "text_encoder_lr = ['x']"],
    ids=lambda line: line[:30],
)  # fmt: skip
def test_what_cannot_be_read_is_named_and_changes_nothing(imported, line):
    found = imported(f"network_dim = 8\n{line}\nbatch_size = 3\n")
    assert len(unreadable(found)) == 1 and next(iter(unreadable(found))).split(".")[0] == line.partition(" ")[0]
    without = imported("network_dim = 8\nbatch_size = 3\n")
    assert found.values == without.values


def test_a_broken_line_costs_itself(imported):
    found = imported(
        'network_dim = 8\nsample_prompts = "a\nkeep_tokens = 3\noutput_name = mira\n[more]\nunet_lr = 1e-4\n'
    )
    assert found.values["keep_tokens"] == 3 and found.values["unet_lr"] == 1e-4
    assert unreadable(found) == {"sample_prompts", "output_name"}


def test_the_data_set_and_the_prompts_beside_a_config(imported, tmp_path):
    rows = '[[datasets]]\nresolution = 768\n[[datasets.subsets]]\nimage_dir = "pics"\nnum_repeats = 4\n'
    (tmp_path / "data.toml").write_text(rows, encoding="utf-8")
    (tmp_path / "prompts.txt").write_text("a girl --w 512\n", encoding="utf-8")
    found = imported('network_dim = 8\ndataset_config = "D:\\\\x\\\\data.toml"\nsample_prompts = "./prompts.txt"\n')
    expected = {"rank": 8, "resolution": 768, "data_dir": "pics", "repeats": "4", "sample_prompts": "a girl --w 512\n"}
    assert expected.items() <= found.values.items()
    (tmp_path / "data.toml").unlink()
    assert "data_dir" not in imported('network_dim = 8\ndataset_config = "data.toml"\n').values


def test_the_first_lora_easy_training_scripts(imported):
    found = imported({
        "base_model": "D:/x/chilloutmix.safetensors", "img_folder": "D:/pics", "net_dim": 32, "alpha": 16,
        "scheduler": "cosine", "learning_rate": 1e-4, "unet_lr": None, "text_encoder_lr": None, "num_epochs": 10,
        "batch_size": 2, "train_resolution": 512, "optimizer_type": "AdamW8bit", "clip_skip": 2, "keep_tokens": 1,
        "optimizer_args": {"weight_decay": "0.1", "betas": "0.9,0.99"}, "warmup_lr_ratio": 0.05, "save_json_only": True,
    })  # fmt: skip
    expected = {
        "model": "chilloutmix", "data_dir": "D:/pics", "rank": 32, "alpha": 16.0, "schedule": "cosine", "te_lr": 1e-4,
        "epochs": 10, "batch_size": 2, "resolution": 512, "optimizer": "AdamW8bit", "warmup": 0.05, "weight_decay": 0.1,
        "beta2": 0.99, "clip_skip": 2, "keep_tokens": 1,
    }  # fmt: skip
    assert expected.items() <= found.values.items()
    assert found.format == "LoRA Easy Training Scripts, first version" and not found.with_outcome(UNKNOWN)


def test_onetrainer(imported):
    found = imported({
        "__version": 6, "training_method": "LORA", "model_type": "STABLE_DIFFUSION_15", "base_model_name": "a/b-v1.5",
        "concept_file_name": "c.json", "learning_rate": 3e-4, "epochs": 100, "batch_size": 4, "lora_rank": 16,
        "lora_alpha": 1.0, "resolution": "512", "unet": {"train": True, "learning_rate": None,
                                                          "stop_training_after": 0},
        "text_encoder": {"train": True, "learning_rate": 1e-5, "stop_training_after": 30,
                         "stop_training_after_unit": "EPOCH"},
        "optimizer": {"optimizer": "ADAMW", "beta1": 0.9, "weight_decay": 0.02, "fused": False},
        "learning_rate_scheduler": "COSINE", "learning_rate_warmup_steps": 0.1, "ema": "GPU", "ema_decay": 0.99,
        "loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": 4.0, "timestep_distribution": "LOGIT_NORMAL",
        "noising_weight": 0.5, "noising_bias": -0.2, "masked_training": True, "unmasked_weight": 0.2,
        "concepts": [{"path": "D:/pics", "balancing": 3.0, "balancing_strategy": "REPEATS", "enabled": True,
                      "image": {"enable_random_flip": True},
                      "text": {"enable_tag_shuffling": True, "keep_tags_count": 2}}],
        "samples": [{"prompt": "a girl", "negative_prompt": "bad", "width": 512, "height": 768, "seed": 5}],
        "output_model_destination": "models/mira.safetensors", "text_encoder_layer_skip": 1,
    })  # fmt: skip
    expected = {
        "model": "b-v1.5", "unet_lr": 3e-4, "te_lr": 1e-5, "epochs": 100, "batch_size": 4, "rank": 16, "alpha": 1.0,
        "resolution": 512, "stop_te_after": 30, "optimizer": "AdamW", "weight_decay": 0.02, "schedule": "cosine",
        "warmup": 0.1, "ema_decay": 0.99, "min_snr_gamma": 4.0, "timestep_distribution": "logit-normal", "name": "mira",
        "timestep_a": -0.2, "timestep_b": 1.5, "masks": "files", "unmasked_weight": 0.2, "data_dir": "D:/pics",
        "repeats": "3", "flip": True, "shuffle": True, "keep_tokens": 2, "clip_skip": 2,
        "sample_prompts": "a girl --n bad --w 512 --h 768 --d 5",
    }  # fmt: skip
    assert {name: found.values.get(name) for name in expected} == expected
    assert found.format == "OneTrainer" and not found.with_outcome(UNKNOWN) and not unreadable(found)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"model_type": "Z_IMAGE", "transformer": {"learning_rate": 2e-4}, "unet": {"train": 0}}, {"unet_lr": 2e-4}),
        ({"transformer": {"train": True, "learning_rate": 2e-4}}, {"unet_lr": 2e-4}),
        ({"model_type": "ANIMA", "transformer": {"train": False}, "unet": {"train": True}}, {"unet_lr": 0.0}),
        ({"model_type": "STABLE_DIFFUSION_XL_10_BASE", "transformer": {"learning_rate": 2e-4}}, {"unet_lr": 1e-4}),
        ({"layer_filter_preset": "attn-mlp", "layer_filter": "attentions"}, {"layers": "attention+mlp"}),
        ({"layer_filter_preset": "blocks", "layer_filter": "layers"}, {"layers": "attention+mlp"}),
        ({"layer_filter_preset": "custom", "layer_filter": "attn1, attn2"}, {"layers": "attention"}),
        ({"layer_filter": "^(?=.*attention)(?!.*refiner).*", "layer_filter_regex": True}, {"layers": "attention"}),
        ({"layer_filter": ""}, {}),
        ({"peft_type": "OFT_2", "oft_block_size": 64, "lora_rank": 16}, {"algorithm": "oft", "rank": 64}),
        ({"peft_type": "LORA", "oft_block_size": 64, "lora_rank": 16}, {"algorithm": "lora", "rank": 16}),
    ],
    ids=str,
)
def test_onetrainers_parts_and_layers(imported, given, expected):
    """The denoiser is the transformer where the model has one; it counted as another family's, at 3e-6."""
    found = imported({"training_method": "LORA", "learning_rate_scheduler": "CONSTANT", "learning_rate": 1e-4, **given})
    assert {name: found.values.get(name) for name in expected} == expected
    assert not found.with_outcome(UNKNOWN) and not unreadable(found)


@pytest.mark.parametrize("job", ["extract", "generate", "mod"])
def test_another_job_of_ai_toolkit_is_no_training(imported, job):
    with pytest.raises(UserError, match="not the config of a trainer"):
        imported({"job": job, "config": {"name": "mira", "process": [{"type": "locon", "linear": 64}]}})


def test_a_filter_of_modules_is_not_guessed(imported):
    found = imported({"training_method": "LORA", "learning_rate_scheduler": "CONSTANT", "layer_filter_preset": "custom",
                      "layer_filter": "down_blocks.1.resnets.0.conv2"})  # fmt: skip
    (line,) = [line for line in found.with_outcome(IGNORED) if line.key == "layer_filter"]
    assert "Choose the layers here" in line.text


AI_TOOLKIT = """---
job: extension
config:
  name: "my_lora_v1"
  process:
    - type: 'sd_trainer'
      training_folder: "output"
      device: cuda:0
      trigger_word: "mira"
      network: {type: "lora", linear: 16, linear_alpha: 8, conv: 4}
      save: {dtype: float16, save_every: 250, max_step_saves_to_keep: 4}
      datasets:
        - folder_path: "/pics"
          caption_ext: "txt"
          caption_dropout_rate: 0.05
          shuffle_tokens: false
          resolution: [512, 768]
      train:
        batch_size: 2
        steps: 2000
        train_text_encoder: false
        gradient_checkpointing: true
        optimizer: "adamw8bit"
        lr: 1e-4
        ema_config: {use_ema: true, ema_decay: 0.99}
        dtype: bf16
        diff_output_preservation: true
        diff_output_preservation_class: person
      model: {name_or_path: "runwayml/stable-diffusion-v1-5"}
      sample:
        width: 512
        height: 768
        prompts:
          - "[trigger] holding a sign"
          - "a cat"
        neg: "bad"
        seed: 42
        walk_seed: true
        guidance_scale: 4
        sample_steps: 20
"""


def test_ai_toolkit(imported):
    found = imported(AI_TOOLKIT, "job.yaml")
    expected = {
        "name": "my_lora_v1", "trigger": "mira", "rank": 16, "alpha": 8.0, "conv_rank": 4, "save_precision": "fp16",
        "data_dir": "/pics", "caption_extension": ".txt", "caption_dropout": 0.05, "shuffle": False, "resolution": 768,
        "max_steps": 2000, "save_every_n_steps": 250,
        "batch_size": 2, "unet_lr": 1e-4, "te_lr": 0.0, "gradient_checkpointing": True, "optimizer": "AdamW8bit",
        "ema_decay": 0.99, "precision": "bf16", "preserve_weight": 1.0, "preserve_class": "person",
        "model": "stable-diffusion-v1-5",
        "sample_prompts": "mira holding a sign --n bad --w 512 --h 768 --s 20 --l 4 --d 42\n"
                          "a cat --n bad --w 512 --h 768 --s 20 --l 4 --d 43",
    }  # fmt: skip
    assert {name: found.values.get(name) for name in expected} == expected
    assert found.format == "ai-toolkit" and not found.with_outcome(UNKNOWN) and not unreadable(found)


def test_yaml_without_its_package_says_what_to_do(imported, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UserError, match="PyYAML") as refused:
        imported(AI_TOOLKIT, "job.yaml")
    assert "pip install" in refused.value.fix


def test_our_own_file_whole_and_in_part(imported):
    whole = imported(config_to_toml(TrainConfig(name="mira", data_dir="sets", rank=5, model="other")))
    assert whole.format == "LoRA Workbench" and whole.values["rank"] == 5 and "model" not in whole.values
    part = imported('rank = 5\nalpha = "x"\nunet_lr = 1\n')
    assert part.values == {"rank": 5, "unet_lr": 1.0} and unreadable(part) == {"alpha"}
    assert set(imported("[Network]\nrank = 5\n").values) >= {"rank", "alpha", "dora"}


def test_musubi_tuner(imported):
    found = imported('[general]\nresolution = [960, 544]\ncaption_extension = ".txt"\nbatch_size = 2\n'
                     '[[datasets]]\nimage_directory = "/pics"\ncache_directory = "/c"\nnum_repeats = 2\n')  # fmt: skip
    expected = {"data_dir": "/pics", "repeats": "2", "batch_size": 2, "resolution": 720}
    assert expected.items() <= found.values.items() and not found.with_outcome(UNKNOWN)


def test_rates_of_blocks(imported):
    down, up = "0,0,0,1,1,1,1,1,1,1,1,1", "1,1,1,1,1,1,0.5,0.5,0.5,0,0,0"
    toml = imported(
        {"network_dim": 8, "network_args": [f"down_lr_weight={down}", "mid_lr_weight=1", f"up_lr_weight={up}"]}
    )
    gui = imported({"LoRA_type": "Standard", "down_lr_weight": down, "mid_lr_weight": "1", "up_lr_weight": up})
    assert toml.values["block_lr"] == gui.values["block_lr"] == f"1,{down},1,{up}"
    xl = imported({"network_dim": 8, "network_args": "down_lr_weight=1,1,1,1,1,1,1,1,0.05 block_lr_zero_threshold=0.1"})
    assert xl.values["block_lr"] == "1,1,1,1,1,1,1,1,1,0," + ",".join("1" * 10)
    curve = (
        imported({"network_dim": 8, "network_args": ["up_lr_weight=reverse_linear+.25"]}).values["block_lr"].split(",")
    )
    assert curve[14] == "1.25" and curve[25] == "0.25" and curve[:14] == ["1"] * 14


def test_ranks_of_blocks(imported):
    ranks = "2,2,2,2,4,4,4,4,6,6,6,6,8,6,6,6,6,4,4,4,4,2,2,2,0"
    found = imported({"network_dim": 8, "network_alpha": 2, "network_args": [f"block_dims={ranks}"]})
    text = "IN00-IN03=2/2, IN04-IN07=4/2, IN08-IN11=6/2, M00=8/2, OUT00-OUT03=6/2, OUT04-OUT07=4/2, "
    text += "OUT08-OUT10=2/2, OUT11=0"
    assert found.values["block_ranks"] == text and found.values["conv_block_ranks"] == ""
    both = imported(
        {"network_dim": 8, "network_args": [f"conv_block_dims={ranks}", "conv_block_alphas=" + ",".join("1" * 25)]}
    )
    assert both.values["conv_block_ranks"] == text.replace("/2", "/1") and both.values["conv_rank"] == 8
    xl = imported(
        {"network_dim": 8, "network_args": ["block_alphas=" + ",".join(["9", *"4" * 9, *"123", *"5" * 9, "9"])]}
    )
    assert xl.values["block_ranks"] == "IN00-IN08=8/4, M00=8/2, OUT00-OUT08=8/5"
    assert unreadable(imported({"network_dim": 8, "network_args": ["block_dims=1,2,3"]})) == {"network_args.block_dims"}


def test_json_with_remarks_and_a_comma_too_many(tmp_path):
    text = """// my settings
{ /* of the
     page */
  "network_dim": 8, # rank
  "output_name": "http://a, // b,] \\" # c", // name
  "max_train_steps": 500,
}"""
    (tmp_path / "c.jsonc").write_text(text, encoding="utf-8")
    values = import_config(tmp_path / "c.jsonc").values
    assert (values["rank"], values["max_steps"]) == (8, 500) and values["name"] == 'http://a, // b,] " # c'


@pytest.mark.parametrize(
    "text", ['{\n"a": 1,\n"b" 2}', '{\n"a": 1, // x\n"b" 2}', '{"a": 1,\n\n/* never ended', '{\n"a": 1,\n"b": "x}']
)
def test_json_that_cannot_be_read_is_refused_with_its_line(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(UserError, match=r"line [23]"):
        import_config(tmp_path / "c.json")


def test_lists_of_one_and_a_rate_among_the_optimizers_arguments(imported):
    found = imported(
        'network_dim = 8\ncaption_extension = [".caption"]\ntrain_data_dir = ["/a"]\n'
        'optimizer_type = "AdamW"\noptimizer_args = ["lr=5", "eps=1e-7"]\n'
    )
    assert (found.values["caption_extension"], found.values["data_dir"]) == (".caption", "/a")
    assert found.values["optimizer_args"] == "eps=1e-07"
    assert [line.key for line in found.with_outcome(IGNORED)] == ["optimizer_args.lr"]


def test_base_weights_are_applied_while_training(imported):
    found = imported(
        {"network_dim": 8, "base_weights": ["D:/l/turbo, fixed.safetensors", "b"], "base_weights_multiplier": [0.5]}
    )
    assert found.values["apply_loras"] == '"turbo, fixed":0.5,b:1'
