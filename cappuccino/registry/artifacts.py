"""The model folder `<root>/<study>/<trial>/` with `manifest.json` and the weights: whole or not at all.

The weights of a network are tensors in `policy.pt`; trees and ensembles are a document, `model.json`.

    save: write `.<trial>.saving/`, fsync, rename        load: no symlinks, manifest, identity, hash, weights

There is this one layout. A saved model never changes: other files under the same name are refused unless the
caller says that the old ones were never used.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cappuccino.errors import ArtifactError
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, from_json, to_json

WEIGHTS = "policy.pt"
DOCUMENT = "model.json"
MANIFEST = "manifest.json"

StateDict = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Artifact:
    """A verified model folder, read."""

    manifest: Manifest
    state_dict: dict[str, torch.Tensor]


def folder_of(root: Path, model: ModelId) -> Path:
    """Return where `model` lies under the artifacts folder `root`."""
    return root / model.study / str(model.trial)


def weight_bytes(state_dict: StateDict) -> bytes:
    """Return the content of `policy.pt`: equal tensors give equal bytes, wherever they were computed."""
    buffer = io.BytesIO()
    torch.save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_dict.items()}, buffer)
    return buffer.getvalue()


def save(folder: Path, manifest: Manifest, state_dict: StateDict, *, replace_unused: bool = False) -> Manifest:
    """Write the model's folder and return the manifest as stored, with the hash of the weights.

    `folder` is `folder_of(root, manifest.model)`. Saving the same model again changes nothing. Raises
    ArtifactError when the folder's name is another model's, when a number is not finite, and when another
    artifact is there already. `replace_unused` replaces that one: an attempt that died before its trial was
    recorded.
    """
    _require_finite(state_dict, manifest.model)
    return _save(folder, manifest, WEIGHTS, weight_bytes(state_dict), replace_unused)


def save_document(folder: Path, manifest: Manifest, content: str, *, replace_unused: bool = False) -> Manifest:
    """Write the folder of a model that is no network: as `save` does, with `content` for the weights."""
    return _save(folder, manifest, DOCUMENT, content.encode(), replace_unused)


def _save(folder: Path, manifest: Manifest, name: str, weights: bytes, replace_unused: bool) -> Manifest:
    _require_layout(folder, manifest.model)
    complete = replace(manifest, weight_sha256=hashlib.sha256(weights).hexdigest())
    text = to_json(complete)
    if folder.exists() and not replace_unused:
        _require_same(folder, text)
        return complete
    _write_whole(folder, {name: weights, MANIFEST: text.encode()})
    return complete


def read_manifest(folder: Path, expected: ModelId) -> Manifest:
    """Return the manifest of `expected`, verified but for the weights; raises ArtifactError like `load`."""
    _require_layout(folder, expected)
    manifest = from_json(_read(folder, MANIFEST).decode(errors="replace"), str(folder / MANIFEST))
    if manifest.model != expected:
        raise ArtifactError(
            f"{folder / MANIFEST} is of another model: found {manifest.model}, expected {expected}; "
            "restore the folder, or retire the model"
        )
    return manifest


def load(folder: Path, expected: ModelId) -> Artifact:
    """Return the model in `folder` on the CPU.

    Raises ArtifactError that names the file, what was found and what was expected when anything is missing, a
    symbolic link, changed, or another model's.
    """
    manifest, weights = _load(folder, expected, WEIGHTS)
    return Artifact(manifest, _tensors(weights, folder / WEIGHTS))


def load_document(folder: Path, expected: ModelId) -> tuple[Manifest, str]:
    """Return manifest and content of a model that is no network; raises ArtifactError as `load` does."""
    manifest, content = _load(folder, expected, DOCUMENT)
    return manifest, content.decode()


def _load(folder: Path, expected: ModelId, name: str) -> tuple[Manifest, bytes]:
    manifest = read_manifest(folder, expected)
    weights = _read(folder, name)
    found = hashlib.sha256(weights).hexdigest()
    if found != manifest.weight_sha256:
        raise ArtifactError(
            f"{folder / name} does not match its manifest: found sha256 {found}, "
            f"expected {manifest.weight_sha256}; restore the folder, or retire the model"
        )
    return manifest, weights


def _tensors(weights: bytes, file: Path) -> dict[str, torch.Tensor]:
    try:
        state_dict = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ArtifactError(f"{file} holds no weights ({error}); restore the folder, or retire the model") from None
    if not isinstance(state_dict, dict) or not all(isinstance(v, torch.Tensor) for v in state_dict.values()):
        raise ArtifactError(f"{file} holds something else than named tensors; restore the folder, or retire the model")
    return state_dict


def _read(folder: Path, name: str) -> bytes:
    file = folder / name
    _refuse_link(file)
    if not file.is_file():
        raise ArtifactError(f"{file} is missing; restore the folder from a backup, or retire the model")
    return file.read_bytes()


def _write_whole(folder: Path, files: dict[str, bytes]) -> None:
    """Make `folder` hold exactly `files`; a crash leaves the old folder, none, or the new one."""
    study = folder.parent
    new, old = study / f".{folder.name}.saving", study / f".{folder.name}.replaced"
    study.mkdir(parents=True, exist_ok=True)
    for leftover in (new, old):  # of an attempt that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        _write_files(new, files)
    except OSError:  # a full disk; what is there of it would keep it full
        shutil.rmtree(new, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    _fsync_folder(study)
    shutil.rmtree(old, ignore_errors=True)


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        with (folder / name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _fsync_folder(folder)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_link(place: Path) -> None:
    if place.is_symlink():
        raise ArtifactError(f"{place} is a symbolic link; put the model's own folder and files there")


def _require_layout(folder: Path, model: ModelId) -> None:
    if folder.parts[-2:] != (model.study, str(model.trial)):
        raise ArtifactError(f"{folder} is not the folder of model {model}: expected .../{model.study}/{model.trial}")
    _refuse_link(folder.parent)
    _refuse_link(folder)


def _require_finite(state_dict: StateDict, model: ModelId) -> None:
    bad = [name for name, tensor in state_dict.items() if not bool(torch.isfinite(tensor).all())]
    if bad or not state_dict:
        found = f"weights {', '.join(bad)} with NaN or infinity" if bad else "no weights"
        raise ArtifactError(f"model {model} has {found}; nothing was written, train it again")


def _require_same(folder: Path, text: str) -> None:
    there = _read(folder, MANIFEST).decode(errors="replace")
    if there != text:
        raise ArtifactError(
            f"{folder} holds another artifact of this model already; models never change. "
            "Use another trial number, or remove the folder if its trial was never recorded"
        )
