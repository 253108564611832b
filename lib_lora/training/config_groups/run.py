"""What is trained, how long, and with which network."""

from __future__ import annotations

from dataclasses import dataclass

from lib_lora.adapters.algorithms import choices
from lib_lora.training.config_groups.only import DORA, EPOCHS, NESTED, UNPROVEN, given, reads
from lib_lora.training.config_groups.setting import NETWORK, RUN, setting

ALGORITHMS = choices()
LAYERS = ("attention", "attention+mlp", "attention+mlp+conv")


@dataclass
class RunSettings:
    """What is trained, on which pictures, for how long."""

    # fmt: off
    name: str = setting("", RUN, "Name", "File name of the LoRA, without .safetensors", kohya="output_name")
    trigger: str = setting("", RUN, "Trigger", "Word put first in every caption; empty for a style", kohya="trigger")
    data_dir: str = setting("", RUN, "Folder", "Folder with images, or with one sub-folder N_name per concept",
        kohya="train_data_dir")
    reg_dir: str = setting("", RUN, "Regularisation folder",
        "Images of the class without the subject, trained beside it as often, without the trigger; empty is off",
        kohya="reg_data_dir")
    repeats: str = setting("auto", RUN, "Repeats",
        "auto: the number in the folder's name, else 1; a number: for folders without one", kohya="num_repeats")
    model: str = setting("", RUN, "Model", "Checkpoint to train on; empty: the one that is loaded",
        kohya="pretrained_model_name_or_path")
    epochs: int = setting(10, RUN, "Epochs", "How often all images are seen (times their repeats)",
        low=1, high=1000, kohya="max_train_epochs", only=EPOCHS)
    max_steps: int = setting(0, RUN, "Training steps",
        "The run ends after so many, whatever the epochs; 0: epochs count",
        low=0, high=1_000_000, kohya="max_train_steps")
    start_from: str = setting("", RUN, "Start from",
        "Name or path of a LoRA whose training goes on, with its algorithm and rank; empty starts anew",
        kohya="network_weights")
    apply_loras: str = setting("", RUN, "Apply while training",
        "LoRAs that act while this one is trained and are not saved in it, NAME:weight: it learns what they lack; a "
        "style under a character, or a distilled model's training adapter; empty is none")
    batch_size: int = setting(2, RUN, "Batch size", "Images per step; more is smoother and needs more memory",
        low=1, high=64, unit="images", kohya="train_batch_size")
    seed: int = setting(42, RUN, "Seed", "Same seed, same settings: same LoRA", low=0, high=2**31 - 1, kohya="seed")
    # fmt: on


@dataclass
class NetworkSettings:
    """The adapter: algorithm, rank, and the layers that get one."""

    # fmt: off
    algorithm: str = setting("lora", NETWORK, "Algorithm", "lora with a convolution rank is also called LoCon",
        choices=ALGORITHMS, kohya="network_module")
    rank: int = setting(16, NETWORK, "Rank", "Size of the LoRA: 8-16 characters, 16-32 styles",
        low=1, high=512, kohya="network_dim", only=reads("rank"))
    alpha: float = setting(8.0, NETWORK, "Alpha", "Scale is alpha / rank; usually rank or half of it",
        low=0.01, high=512, kohya="network_alpha", only=reads("alpha"))
    conv_rank: int = setting(0, NETWORK, "Convolution rank", "Also train 3x3 convolutions (LoCon); 0 is off",
        low=0, high=512, kohya="conv_dim")
    conv_alpha: float = setting(1.0, NETWORK, "Convolution alpha", "Alpha of the 3x3 convolutions",
        low=0.01, high=512, kohya="conv_alpha", only=given("conv_rank", "a convolution rank"))
    block_ranks: str = setting("", NETWORK, "Ranks per block",
        "For example IN01-IN02=4, M00=8/2: rank, and after a slash alpha; 0 leaves a block out; empty is off",
        kohya="network_args.block_dims,block_alphas")
    conv_block_ranks: str = setting("", NETWORK, "Convolution ranks per block", "The same for 3x3 convolutions",
        kohya="network_args.conv_block_dims,conv_block_alphas", only=given("conv_rank", "a convolution rank"))
    layers: str = setting("attention+mlp", NETWORK, "Layers", "attention+mlp is usual; or a regular expression",
        kohya="network_args.preset")
    dora: bool = setting(False, NETWORK, "DoRA", "Learns strength and direction apart; for lora, loha and lokr; slower",
        kohya="network_args.dora_wd", only=DORA)
    rs_lora: bool = setting(False, NETWORK, "Rank-stabilised", "Scale is alpha / √rank, for large ranks",
        kohya="network_args.rs_lora", only=reads("alpha"))
    tucker: bool = setting(False, NETWORK, "Tucker", "Smaller 3x3 convolutions, through a core",
        kohya="network_args.use_tucker", only=reads("tucker"))
    lokr_factor: int = setting(-1, NETWORK, "LoKr factor", "Size of its first factor; -1 is about the square root",
        low=-1, high=512, kohya="network_args.factor", only=reads("factor"))
    lokr_full: bool = setting(False, NETWORK, "LoKr full", "Its second factor is not low-rank",
        kohya="network_args.full_matrix", only=reads("full_matrix"))
    lokr_both: bool = setting(False, NETWORK, "LoKr both", "Its first factor is low-rank too",
        kohya="network_args.decompose_both", only=reads("decompose_both"))
    constraint: float = setting(0.0, NETWORK, "OFT constraint", "Bounds the rotation of oft and boft; 0 is off",
        low=0, high=1000, kohya="network_args.constraint", only=reads("constraint"))
    network_dropout: float = setting(0.0, NETWORK, "Dropout", "Of the network's activations; 0 to 0.3",
        low=0, high=0.99, kohya="network_dropout")
    rank_dropout: float = setting(0.0, NETWORK, "Rank dropout", "Of whole ranks; 0 to 0.3",
        low=0, high=0.99, kohya="network_args.rank_dropout")
    module_dropout: float = setting(0.0, NETWORK, "Module dropout", "Of whole layers; 0 to 0.3",
        low=0, high=0.99, kohya="network_args.module_dropout")
    nested_ranks: bool = setting(False, NETWORK, "Nested ranks",
        "DyLoRA: each step trains the first ranks only, so that less is lost when the rank is reduced; lora only",
        only=NESTED)
    tlora_rank: int = setting(0, NETWORK, "T-LoRA",
        "Noisy steps train the first ranks only, the noisiest this many, against memorising; lora only, 0 is off",
        low=0, high=512, unit="ranks", only=UNPROVEN)
    train_norm: bool = setting(False, NETWORK, "Norm layers", "Also trains the normalisation layers of what is adapted",
        kohya="network_args.train_norm")
    # fmt: on
