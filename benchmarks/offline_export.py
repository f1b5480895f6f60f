"""LightGBM's trees as the plain arrays that the offline judge walks."""

from __future__ import annotations

import lightgbm
import numpy as np


def exported(ensemble: tuple[lightgbm.Booster, ...]) -> dict[str, np.ndarray]:
    """Trees as padded arrays, whose sum is the boosters' mean. A leaf is its own child: a walk of
    `depth` steps ends in it."""
    dumped = [booster.dump_model() for booster in ensemble]
    grown = [tree["tree_structure"] for trees in dumped for tree in trees["tree_info"]]
    flat = [list(_nodes(tree)) for tree in grown]
    width = max(map(len, flat))
    shape = (len(flat), width)
    feature, left, right = (np.zeros(shape, dtype=np.int16) for _ in range(3))
    threshold, value = np.zeros(shape), np.zeros(shape, dtype=np.float32)
    for t, nodes in enumerate(flat):
        for n, (f, at, yes, no, leaf) in enumerate(nodes):
            feature[t, n], threshold[t, n], left[t, n], right[t, n], value[t, n] = (
                f,
                at,
                yes,
                no,
                leaf / len(ensemble),
            )
    depth = np.array([max(map(_depth, grown))], dtype=np.int16)
    return {
        "feature": feature,
        "threshold": threshold,
        "left": left,
        "right": right,
        "value": value,
        "depth": depth,
    }


def _nodes(tree: dict) -> list[tuple[int, float, int, int, float]]:
    """(feature, threshold, left, right, value) of each node, the root first."""
    found: list = []

    def visit(node: dict) -> int:
        here = len(found)
        found.append((0, 0.0, here, here, node.get("leaf_value", 0.0)))
        if "leaf_value" not in node:
            left, right = visit(node["left_child"]), visit(node["right_child"])
            found[here] = (node["split_feature"], node["threshold"], left, right, 0.0)
        return here

    visit(tree)
    return found


def _depth(tree: dict) -> int:
    if "leaf_value" in tree:
        return 0
    return 1 + max(_depth(tree["left_child"]), _depth(tree["right_child"]))
