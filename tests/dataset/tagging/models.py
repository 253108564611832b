"""Tagger models made on the spot, with the contracts of the real ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
# name, category, what the logit is: bias, then weights of the means of blue, green and red (0 to 1)
TAGS = [
    ("general", 9, (1, 0, 0, 0)),
    ("explicit", 9, (0, 0, 0, 0)),
    ("blue_theme", 0, (-4, 8, 0, 0)),
    ("green_theme", 0, (-4, 0, 8, 0)),
    ("red_theme", 0, (-4, 0, 0, 8)),
    ("^_^", 0, (0.5, 0, 0, 0)),
    ("mira_(world)", 4, (-4, 0, 0, 8)),
]


def write_model(folder: Path, *, first: bool = False, batch: int | None = None, half: bool = False) -> Path:
    """A model with the contract of a WD tagger (or, with ``first``, of cl_tagger: channels first, -1 to 1, logits)."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = np.array([row[2][1:] for row in TAGS], np.float32).T
    bias = np.array([row[2][0] for row in TAGS], np.float32)
    if first:
        bias, weights = bias + weights.sum(0) / 2, weights / 2  # x in -1 … 1
    else:
        weights = weights / 255
    kind = np.float16 if half else np.float32
    dtype = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    shape = [batch or "N", 3, SIDE, SIDE] if first else [batch or "N", SIDE, SIDE, 3]
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[2, 3] if first else [1, 2], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights", "bias"], ["logits"]),
        helper.make_node("Identity" if first else "Sigmoid", ["logits"], ["tags"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("pixels", dtype, shape)],
        [helper.make_tensor_value_info("tags", dtype, [batch or "N", len(TAGS)])],
        [numpy_helper.from_array(a.astype(kind), name) for name, a in (("weights", weights), ("bias", bias))],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "model.onnx"
    )
    if first:
        names = {9: "Rating", 0: "General", 4: "Character"}
        table = {str(i): {"tag": tag, "category": names[kind]} for i, (tag, kind, _) in enumerate(TAGS)}
        (folder / "tag_mapping.json").write_text(json.dumps(table), encoding="utf-8")
    else:
        with open(folder / "selected_tags.csv", "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["tag_id", "name", "category", "count"])
            rows.writerows([i, tag, kind, 100] for i, (tag, kind, _) in enumerate(TAGS))
    return folder
