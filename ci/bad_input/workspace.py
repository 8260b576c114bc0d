"""The folder that every mistake is made in."""

import importlib
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.checkpoint import Checkpoint, save


def make_workspace(folder: Path) -> Path:
    """Whole and spoiled files of every sort; returns the folder, resolved."""
    from common.images import write_picture
    from SRFlow.src.model_utils.trained import digest_of

    folder = folder.resolve()
    rng = np.random.default_rng(0)

    def picture(name: str, side: int) -> Path:
        write_picture(folder / name, rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        return folder / name

    def text(name: str, content: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")

    for name in (
        "a.png",
        "pictures/a.png",
        "data/benchmark/Set5/HR/a.png",
        "missized/HR/0001.png",
        "lacking/HR/0001.png",
    ):
        picture(name, 64)
    for number in range(1, 5):
        picture(f"data/DIV2K/DIV2K_train_HR/000{number}.png", 64)
    for scale in (2, 4):
        picture(f"missized/LR_bicubic/X{scale}/0001x{scale}.png", 10)
        picture(f"lacking/LR_bicubic/X{scale}/0002x{scale}.png", 64 // scale)
    picture("dot.png", 1)
    picture("dots/dot.png", 1)
    picture("b.png", 32)
    whole = picture("cut/0001.png", 64)
    whole.write_bytes(whole.read_bytes()[:5000])
    for name in ("a.txt", "texts/a.txt", "words/0001.png", "words.npz", "text.ckpt"):
        text(name, "These are words.\n")
    text("broken.yaml", "device_target: [CPU\n")
    text("unknown.yaml", "device_targt: CPU\n")
    text("wrong.yaml", "device_target: Abacus\n")
    text("unknown_pack.yaml", "scal: 4\n")
    text("wrong_pack.yaml", "scale: many\n")
    for name in (
        "empty",
        "folder.mindrecord",
        "folder.mindir",
        "folder.ckpt",
        "kept_downscale.mindir",
        "kept_decode.mindir",
        "kept_encoder.mindir",
    ):
        (folder / name).mkdir()
    for model, network, description in tiny_networks():
        arrays = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
        saved = Checkpoint(arrays, description)
        save(folder / "weights" / f"{model}.ckpt", saved)
        if model == "SRFlow":
            for name, seed in (("a.npz", 1), ("b.npz", 2)):
                write_latents(folder / name, seed, network.hyper, digest_of(network.hyper, saved))
    (folder / "cut.npz").write_bytes((folder / "a.npz").read_bytes()[:2000])
    (folder / "void.ckpt").touch()
    (folder / "cut.ckpt").write_bytes((folder / "weights" / "IRN.ckpt").read_bytes()[:2000])
    with zipfile.ZipFile(folder / "code.pth", "w") as archive:  # whoever unpickles it runs `touch ran`
        archive.writestr("code/data.pkl", pickle.dumps({"weight": Run()}, protocol=2))
        archive.writestr("code/version", "3\n")
    return folder


class Run:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch ran",)


def write_latents(path: Path, seed: int, hyper: object, digest: str) -> None:
    """A file that SRFlow's infer.py encode might have written for a picture of 32x32."""
    from SRFlow.src.model.SRFlowNet import draw_latents
    from SRFlow.src.model_utils.latent_file import Latents, write

    rng = np.random.default_rng(seed)
    lr = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write(path, Latents(draw_latents(hyper, (1, 8, 8), 1.0, rng), lr, 32, 32, digest))


def tiny_networks() -> Iterator[tuple[str, object, dict]]:
    """(model, network of one block, what its checkpoint says) of every model."""
    small = {"num_features": 4, "num_blocks": 1}
    flow = {**small, "growth": 2, "stack": (0,), "levels": 3, "steps": 1, "hidden_channels": 4}
    diffusion = {"dim_mults": (1, 2), "hidden_size": 4, "rrdb_num_feat": 4, "rrdb_num_block": 2, "timesteps": 10}
    for model, module, name, shape, utilities in (
        ("WDSR", "model", "WDSR", {"scale": 2, **small}, "utils"),
        ("IRN", "network.Invnet", "InvRescaleNet", {"scale": 2, "block_num": (1,), "growth": 2}, "utils.util"),
        ("SRFlow", "model.SRFlowNet", "SRFlowNet", {"scale": 4, **flow}, "model_utils.util"),
        ("SRDiff", "model.srdiff", "SRDiffNet", {"scale": 4, **diffusion}, "model_utils.util"),
        ("CSNLN", "CSNLN", "CSNLN", {"scale": 2, "n_feats": 4, "depth": 1}, "utils"),
    ):
        built = importlib.import_module(f"{model}.src.{module}")
        hyper = built.Hyper(**shape)
        yield (
            model,
            getattr(built, name)(hyper),
            importlib.import_module(f"{model}.src.{utilities}").describe(hyper, {}),
        )
