import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from cappuccino.errors import ArtifactError
from cappuccino.market.interval import Interval
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, ManifestFeatures, from_json, to_json

MODEL = ModelId("study-1", 7)
WEIGHTS = {"tower.weight": torch.arange(6.0).reshape(2, 3) / 7, "tower.bias": torch.tensor([0.1, -0.2])}


def manifest_of(model: ModelId = MODEL) -> Manifest:
    return Manifest(
        study=model.study,
        trial=model.trial,
        hyper={"width": 64, "learning_rate": 3e-4, "residual": True, "note": None},
        features=ManifestFeatures(indicators=("rsi_14",), extras=("roc_12",), names=("log_close", "rsi_14", "roc_12")),
        scaler={"mean": [[0.1 + 0.2, 1e-17]], "std": [[1 / 3, 1.0]], "names": ["log_close", "rsi_14"]},
        symbols=("BTC/USD", "ETH/USD"),
        interval=Interval.H1,
        lookback=24,
        data_start=datetime(2025, 1, 1, tzinfo=UTC),
        data_end=datetime(2025, 6, 1, tzinfo=UTC),
        train_start=datetime(2025, 1, 1, tzinfo=UTC),
        train_end=datetime(2025, 5, 1, tzinfo=UTC),
        data_fingerprint="abc",
        code_version="0.1.0",
        learner="ppo",
        simulated=True,
        metrics={"sharpe_annualized": 1.25, "profit_factor": float("inf")},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return artifacts.folder_of(tmp_path / "artifacts", MODEL)


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def rewrite(folder: Path, **changes: object) -> None:
    """Change the manifest as somebody would who knows about its hash."""
    manifest = from_json((folder / artifacts.MANIFEST).read_text(), "test")
    (folder / artifacts.MANIFEST).write_text(to_json(replace(manifest, **changes)))


def test_a_saved_model_loads_bit_equal(folder: Path) -> None:
    saved = artifacts.save(folder, manifest_of(), WEIGHTS)
    loaded = artifacts.load(folder, MODEL)
    assert loaded.manifest == replace(saved, metrics={"sharpe_annualized": 1.25, "profit_factor": None})
    assert loaded.manifest.scaler["mean"][0] == [0.1 + 0.2, 1e-17]
    assert [type(v) for v in loaded.manifest.hyper.values()] == [int, float, bool, type(None)]
    assert list(loaded.state_dict) == list(WEIGHTS)
    assert all(torch.equal(loaded.state_dict[name], tensor) for name, tensor in WEIGHTS.items())


def test_the_folder_holds_the_two_files_and_nothing_is_left_beside_it(folder: Path) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "policy.pt"]
    assert [p.name for p in folder.parent.iterdir()] == ["7"]


def test_equal_weights_have_equal_hashes_whatever_their_memory_layout() -> None:
    transposed = {name: t.T.contiguous().T if t.ndim == 2 else t.clone() for name, t in WEIGHTS.items()}
    view = {name: torch.cat([t, t])[: len(t)].requires_grad_() for name, t in WEIGHTS.items()}
    assert artifacts.weight_bytes(WEIGHTS) == artifacts.weight_bytes(transposed) == artifacts.weight_bytes(view)
    assert artifacts.weight_bytes(WEIGHTS) != artifacts.weight_bytes({n: t + 1 for n, t in WEIGHTS.items()})


def test_a_changed_byte_of_the_weights_is_refused(folder: Path) -> None:
    saved = artifacts.save(folder, manifest_of(), WEIGHTS)
    file = folder / artifacts.WEIGHTS
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=f"policy.pt .* expected {saved.weight_sha256}"):
        artifacts.load(folder, MODEL)


def test_a_truncated_manifest_is_refused(folder: Path) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    file = folder / artifacts.MANIFEST
    file.write_text(file.read_text()[:-40])
    with pytest.raises(ArtifactError, match=r"manifest\.json is not JSON"):
        artifacts.load(folder, MODEL)


def test_a_manifest_edited_by_hand_is_refused(folder: Path) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    file = folder / artifacts.MANIFEST
    file.write_text(file.read_text().replace('"lookback": 24', '"lookback": 25'))
    with pytest.raises(ArtifactError, match="changed after it was written"):
        artifacts.load(folder, MODEL)


def test_a_manifest_with_a_field_of_another_version_is_refused_by_name(folder: Path) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    file = folder / artifacts.MANIFEST
    fields = json.loads(file.read_text())
    fields["lookback"] = "long"
    with pytest.raises(ArtifactError) as refused:
        from_json(json.dumps(fields), "m")
    fields["manifest_sha256"] = str(refused.value).split("expected ")[1].split(";")[0]
    with pytest.raises(ArtifactError, match=r"manifest.json has wrong fields \(lookback"):
        from_json(json.dumps(fields), str(file))


@pytest.mark.parametrize("text", ["[]", "7", "null"])
def test_a_manifest_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="expected an object"):
        from_json(text, "manifest.json")


def test_a_model_under_another_ones_name_is_refused(folder: Path) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    other = ModelId("study-1", 8)
    shutil.copytree(folder, folder.parent / "8")
    with pytest.raises(ArtifactError, match="found study-1/7, expected study-1/8"):
        artifacts.load(folder.parent / "8", other)
    with pytest.raises(ArtifactError, match="not the folder of model study-1/8"):
        artifacts.load(folder, other)


@pytest.mark.parametrize("name", [artifacts.MANIFEST, artifacts.WEIGHTS])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        artifacts.load(folder, MODEL)


def test_a_model_that_was_never_saved_is_missing(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing"):
        artifacts.load(folder, MODEL)


@pytest.mark.parametrize("what", ["study", "folder", artifacts.MANIFEST, artifacts.WEIGHTS])
def test_symbolic_links_are_refused(folder: Path, tmp_path: Path, what: str) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    place = {"study": folder.parent, "folder": folder}.get(what, folder / what)
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="symbolic link"):
        artifacts.load(folder, MODEL)


def test_saving_through_a_symbolic_link_is_refused(folder: Path, tmp_path: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="symbolic link"):
        artifacts.save(folder, manifest_of(), WEIGHTS)


def test_saving_the_same_model_twice_changes_nothing_and_another_one_is_refused(folder: Path) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    before = (folder / artifacts.WEIGHTS).stat().st_mtime_ns
    artifacts.save(folder, manifest_of(), WEIGHTS)
    assert (folder / artifacts.WEIGHTS).stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="models never change"):
        artifacts.save(folder, manifest_of(), {n: t + 1 for n, t in WEIGHTS.items()})
    assert torch.equal(artifacts.load(folder, MODEL).state_dict["tower.bias"], WEIGHTS["tower.bias"])


def test_an_unused_attempt_is_replaced_whole(folder: Path) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    changed = {n: t + 1 for n, t in WEIGHTS.items()}
    artifacts.save(folder, manifest_of(), changed, replace_unused=True)
    assert torch.equal(artifacts.load(folder, MODEL).state_dict["tower.bias"], changed["tower.bias"])
    assert [p.name for p in folder.parent.iterdir()] == ["7"]


def test_a_killed_save_is_no_model_and_the_next_save_clears_it(folder: Path) -> None:
    half = folder.parent / ".7.saving"
    half.mkdir(parents=True)
    (half / artifacts.WEIGHTS).write_bytes(b"half")
    with pytest.raises(ArtifactError, match="missing"):
        artifacts.load(folder, MODEL)
    artifacts.save(folder, manifest_of(), WEIGHTS)
    assert artifacts.load(folder, MODEL).manifest.model == MODEL
    assert not half.exists()


@pytest.mark.parametrize("weights", [{"w": torch.tensor([1.0, float("nan")])}, {"w": torch.tensor(float("inf"))}, {}])
def test_weights_that_cannot_trade_are_not_written(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ArtifactError, match="nothing was written"):
        artifacts.save(folder, manifest_of(), weights)
    assert not folder.parent.exists()


def test_scales_that_are_not_numbers_are_not_written(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="nothing was written"):
        artifacts.save(folder, replace(manifest_of(), scaler={"mean": [float("nan")]}), WEIGHTS)
    assert not folder.parent.exists()


def test_saving_under_another_models_folder_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="not the folder of model study-1/9"):
        artifacts.save(folder, manifest_of(ModelId("study-1", 9)), WEIGHTS)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_a_pickle_that_would_run_code_is_refused_unrun(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    torch.save(Payload(), folder / artifacts.WEIGHTS)
    rewrite(folder, weight_sha256=sha256_of(folder / artifacts.WEIGHTS))
    with pytest.raises(ArtifactError, match="holds no weights"):
        artifacts.load(folder, MODEL)
    assert capsys.readouterr().out == ""


def test_a_file_without_tensors_is_refused(folder: Path) -> None:
    artifacts.save(folder, manifest_of(), WEIGHTS)
    torch.save([1, 2], folder / artifacts.WEIGHTS)
    rewrite(folder, weight_sha256=sha256_of(folder / artifacts.WEIGHTS))
    with pytest.raises(ArtifactError, match="something else than named tensors"):
        artifacts.load(folder, MODEL)


def test_a_model_is_judged_behind_its_training_by_its_lookback_but_a_fortnight_at_most() -> None:
    hours = manifest_of()
    assert hours.unseen_from == hours.train_end + timedelta(hours=24)
    days = replace(hours, interval=Interval.D1, lookback=60)
    assert days.unseen_from == days.train_end + timedelta(days=14)
