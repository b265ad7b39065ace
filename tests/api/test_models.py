"""Models are pulled whole and as announced, or not at all; the source is a real server on this machine."""

import json
import os
import shutil
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import hubs
import pytest

from api import cards, downloads, models, sources
from api.downloads import Broken, Remote
from encoders._models import locate, lock_file, models_folder, pinned
from retriever.errors import AlteredWeights, MissingWeights, PullError, UnknownModel, WeightsError

NAME = "hf-hub:tiny/clip"
CONFIG = {
    "model_cfg": {"embed_dim": 8, "vision_cfg": {"image_size": 32, "layers": 1}, "text_cfg": {"context_length": 16}},
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]},
}


def safetensors(count: int = 3000) -> bytes:
    """A file of one tensor."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(i % 251 for i in range(4 * count))


WEIGHTS = safetensors()
FILES = {
    "open_clip_config.json": json.dumps(CONFIG).encode(),
    "open_clip_model.safetensors": WEIGHTS,
    "open_clip_pytorch_model.bin": b"never asked for",
    "tokenizer.json": b"{}",
    "README.md": b"never asked for",
}


def quiet(*_: object) -> None: ...


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REELSEEK_CACHE", str(tmp_path / "cache"))
    for name in (*models.OFFLINE, "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def hub() -> Iterator[hubs.Hub]:
    with hubs.running() as hub:
        hub.add("tiny/clip", FILES)
        yield hub


def pull(hub: hubs.Hub, name: str = NAME, **more: str) -> Any:
    plan = sources.found(name, sources.Hub(endpoint=hub.address), **more)
    return models.pull(plan, quiet, quiet)


def left(cache: Path) -> list[str]:
    """What is in the models folder besides locks."""
    return sorted(path.name for path in (cache / "models").glob("*") if path.name != models.LOCKS)


def weights(hub: hubs.Hub) -> str:
    return hub.path("tiny/clip", "open_clip_model.safetensors")


# ------------------------------------------------------------------------------------------------------- what is pulled


def test_what_would_come_is_known_before_any_of_it_does(hub: hubs.Hub) -> None:
    plan = sources.found(NAME, sources.Hub(endpoint=hub.address))
    wanted = ["open_clip_model.safetensors", "open_clip_config.json", "tokenizer.json"]
    assert [remote.name for remote in plan.remotes] == wanted
    assert plan.size == sum(len(FILES[name]) for name in wanted)
    assert (plan.licence, plan.family, plan.facts) == ("mit", "openclip", {"dimension": 8, "context": 16, "image": 32})
    assert hub.gets(weights(hub)) == []


def test_a_pulled_model_is_located(hub: hubs.Hub) -> None:
    one = pull(hub)
    assert one.facts["parameters"] == 3000
    assert one.revision == hubs.COMMIT
    files = locate("openclip", NAME)
    assert files.folder == one.path()
    assert files.weights.read_bytes() == WEIGHTS
    assert sorted(path.name for path in one.path().iterdir()) == sorted(one.files)
    assert all(sha256((one.path() / name).read_bytes()).hexdigest() == pin for name, pin in one.files.items())


def test_a_second_pull_brings_nothing(hub: hubs.Hub) -> None:
    pull(hub)
    asked = len(hub.gets(weights(hub)))
    pull(hub)
    assert len(hub.gets(weights(hub))) == asked == 1


def test_a_clap_model_is_known_by_its_configuration(hub: hubs.Hub) -> None:
    config = json.dumps({"model_type": "clap", "projection_dim": 24}).encode()
    hub.add("tiny/clap", {"config.json": config, "model.safetensors": WEIGHTS, "preprocessor_config.json": b"{}"})
    one = pull(hub, "hf-hub:tiny/clap")
    assert (one.family, one.facts["dimension"]) == ("clap", 24)
    assert locate("clap", "tiny/clap").weights.name == "model.safetensors"
    with pytest.raises(UnknownModel, match="of the family clap, wanted one of openclip"):
        locate("openclip", "hf-hub:tiny/clap")


def test_an_xclip_model_is_known_by_its_configuration(hub: hubs.Hub) -> None:
    config = {"model_type": "xclip", "text_config": {"max_position_embeddings": 16}, "vision_config": {"num_frames": 4}}
    files = {"config.json": json.dumps(config).encode(), "pytorch_model.bin": b"never asked for"}
    hub.add("tiny/xclip", {**files, "model.safetensors": WEIGHTS, "preprocessor_config.json": b"{}"})
    one = pull(hub, "hf-hub:tiny/xclip")
    assert (one.family, one.facts) == (
        "xclip",
        {"dimension": 512, "context": 16, "image": 224, "parameters": 3000},
    )
    assert sorted(one.files) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert locate("xclip", "tiny/xclip").weights.name == "model.safetensors"
    with pytest.raises(UnknownModel, match="of the family xclip, wanted one of clap"):
        locate("clap", "hf-hub:tiny/xclip")
    card = cards.card(str(one.path()))
    assert (card.family, card.dimension, card.context, card.image) == ("xclip", 512, 16, 224)


def test_a_tag_of_open_clip_gets_its_configuration(hub: hubs.Hub) -> None:
    pytest.importorskip("open_clip")
    hub.add("timm/vit_base_patch32_clip_224.openai", {"open_clip_model.safetensors": WEIGHTS})
    pull(hub, "ViT-B/32:openai")
    config = json.loads((locate("openclip", "ViT-B-32:openai").folder / "open_clip_config.json").read_text())  # type: ignore[operator]
    assert config["model_cfg"]["embed_dim"] == 512
    assert config["model_cfg"]["quick_gelu"] is True  # as those weights were trained; the architecture's file says no
    assert config["preprocess_cfg"]["resize_mode"] == "shortest"
    assert locate("openclip", "ViT-B-32").name == "ViT-B-32:openai"


def test_a_tokenizer_that_lies_elsewhere_comes_too(hub: hubs.Hub) -> None:
    config = {
        "model_cfg": {"embed_dim": 8, "text_cfg": {"hf_tokenizer_name": "words/bert", "hf_model_name": "words/bert"}}
    }
    hub.add("tiny/bert", {"open_clip_config.json": json.dumps(config).encode(), "open_clip_model.safetensors": WEIGHTS})
    hub.add(
        "words/bert", {"tokenizer.json": b"[]", "vocab.txt": b"a", "config.json": b"{}", "pytorch_model.bin": b"no"}
    )
    one = pull(hub, "hf-hub:tiny/bert")
    assert {"tokenizer.json", "vocab.txt", "config.json"} < set(one.files)
    assert "pytorch_model.bin" not in one.files


def test_weights_of_an_address_are_a_tag_of_ones_own(hub: hubs.Hub) -> None:
    pytest.importorskip("open_clip")
    hub.files["/own.safetensors"] = WEIGHTS
    pin = sha256(WEIGHTS).hexdigest()
    one = pull(hub, "ViT-B-32:own", url=hub.url("/own.safetensors"), sha256=pin)
    assert (one.licence, one.source) == ("not stated", hub.url("/own.safetensors"))
    assert locate("openclip", "ViT-B-32:own").weights.read_bytes() == WEIGHTS


# ------------------------------------------------------------------------------------------------------ what goes wrong


def test_an_altered_file_is_refused_and_told_of(hub: hubs.Hub) -> None:
    one = pull(hub)
    (one.path() / "open_clip_model.safetensors").write_bytes(safetensors(2999))
    with pytest.raises(AlteredWeights, match=f"models.lock says .*: reelseek models pull {NAME} brings it again"):
        locate("openclip", NAME)
    (one.path() / "open_clip_model.safetensors").unlink()
    assert f"is gone: reelseek models pull {NAME}" in dict(models.verify())[NAME]


def test_another_file_than_was_announced_is_not_kept(hub: hubs.Hub, cache: Path) -> None:
    hub.served[weights(hub)] = WEIGHTS[:-1] + b"\xff"
    with pytest.raises(PullError, match=r"has SHA-256 .*, wanted .*not the file that was pinned"):
        pull(hub)
    assert left(cache) == []
    assert pinned() == {}


@pytest.mark.parametrize("name", ["open_clip_config.json", "tokenizer.json"])
def test_small_files_are_checked_by_what_git_calls_them(hub: hubs.Hub, cache: Path, name: str) -> None:
    hub.served[hub.path("tiny/clip", name)] = FILES[name].replace(b"{", b"[")
    with pytest.raises(PullError, match="has Git blob"):
        pull(hub)
    assert left(cache) == []


@pytest.mark.parametrize(
    ("status", "words"), [(404, "is not there"), (401, "accept its terms"), (403, "hf auth login")]
)
def test_a_refused_file_leaves_nothing(hub: hubs.Hub, cache: Path, status: int, words: str) -> None:
    hub.statuses[weights(hub)] = status
    with pytest.raises(PullError, match=words):
        pull(hub)
    assert left(cache) == []


def test_no_network_leaves_nothing(cache: Path) -> None:
    with hubs.running() as hub:
        hub.add("tiny/clip", FILES)
        plan = sources.found(NAME, sources.Hub(endpoint=hub.address))
    with pytest.raises(PullError, match=r"no answer from 127\.0\.0\.1:\d+ \(.*look whether there is a network"):
        models.pull(plan, quiet, quiet)
    with pytest.raises(PullError, match=r"no answer from 127\.0\.0\.1:\d+"):
        sources.found(NAME, sources.Hub(endpoint=hub.address))
    assert left(cache) == []


def test_a_repository_that_is_not_there_is_told(hub: hubs.Hub) -> None:
    with pytest.raises(UnknownModel, match="tiny/clop is not there"):
        pull(hub, "hf-hub:tiny/clop")
    with pytest.raises(UnknownModel, match="wanted ORG/NAME"):
        pull(hub, "hf-hub:../../clop")
    hub.add("tiny/other", {"README.md": b""})
    with pytest.raises(PullError, match="laid out neither for open_clip"):
        pull(hub, "hf-hub:tiny/other")


def test_unknown_tags_have_neighbours(hub: hubs.Hub) -> None:
    pytest.importorskip("open_clip")
    with pytest.raises(UnknownModel, match=r"did you mean ViT-B-16-SigLIP2:webli\?"):
        pull(hub, "ViT-B-16-SigLIP2:webly")
    with pytest.raises(UnknownModel, match=r"did you mean .*ViT-B-32:openai"):
        pull(hub, "VitB32:openai")


def test_a_full_disk_is_noticed_before_and_while(hub: hubs.Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        real = os.statvfs
        patch.setattr(os, "statvfs", lambda path: os.statvfs_result((*real(path)[:4], 0, *real(path)[5:10])))
        with pytest.raises(PullError, match=r"0 B free, open_clip_model\.safetensors needs 12"):
            pull(hub)
    assert left(cache) == []

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads.os, "fsync", full)
    with pytest.raises(PullError, match="is full: make room, or set REELSEEK_CACHE"):
        pull(hub)
    assert left(cache) == []


def test_a_folder_that_cannot_be_written_is_told(hub: hubs.Hub, cache: Path) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file")
    with pytest.raises(PullError, match=r"cannot be written .*REELSEEK_CACHE"):
        pull(hub)


@pytest.mark.parametrize("name", models.OFFLINE)
def test_offline_pulls_nothing(hub: hubs.Hub, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plan = sources.found(NAME, sources.Hub(endpoint=hub.address))
    monkeypatch.setenv(name, "1")
    with pytest.raises(PullError, match=f"{name} is set, so nothing is pulled"):
        models.pull(plan, quiet, quiet)
    assert hub.gets(weights(hub)) == []


def test_weights_that_hold_objects_are_not_kept(hub: hubs.Hub, cache: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    marker = tmp_path / "marker"

    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {marker}",)

    torch.save({"state_dict": {"a": torch.ones(2)}, "config": Hostile()}, tmp_path / "a.bin")
    config = FILES["open_clip_config.json"]
    hub.add(
        "tiny/bin", {"open_clip_config.json": config, "open_clip_pytorch_model.bin": (tmp_path / "a.bin").read_bytes()}
    )
    with pytest.raises(PullError, match="runs nothing that comes in a file"):
        pull(hub, "hf-hub:tiny/bin")
    assert left(cache) == []
    assert not marker.exists()
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "a.bin")
    hub.add(
        "tiny/bin", {"open_clip_config.json": config, "open_clip_pytorch_model.bin": (tmp_path / "a.bin").read_bytes()}
    )
    assert pull(hub, "hf-hub:tiny/bin").facts["parameters"] == 2


@pytest.mark.parametrize("body", [b"", b"weights", struct.pack("<Q", 1 << 60), WEIGHTS[:-4], WEIGHTS + b"more"])
def test_what_is_no_safetensors_is_not_kept(hub: hubs.Hub, cache: Path, body: bytes) -> None:
    hub.add("tiny/clip", {**FILES, "open_clip_model.safetensors": body})
    with pytest.raises(PullError, match="is not safetensors"):
        pull(hub)
    assert left(cache) == []


# ----------------------------------------------------------------------------------------------------- broken transfers


def remote(hub: hubs.Hub, **more: Any) -> Remote:
    hub.files["/a"] = WEIGHTS
    said = {"size": len(WEIGHTS), "sha256": sha256(WEIGHTS).hexdigest(), **more}
    return Remote("a", hub.url("/a"), **said)


def test_a_connection_that_breaks_is_taken_up_again(hub: hubs.Hub, tmp_path: Path) -> None:
    hub.cuts["/a"] = [5000, 9000]
    downloads.fetch(remote(hub), tmp_path, quiet)
    assert (tmp_path / "a").read_bytes() == WEIGHTS
    assert [one.span for one in hub.gets("/a")] == ["", "bytes=5000-", "bytes=9000-"]


def test_what_came_is_kept_for_the_next_pull(hub: hubs.Hub, cache: Path) -> None:
    hub.cuts[weights(hub)] = [5000, 5000, 5000, 5000]
    with pytest.raises(Broken, match=r"ended after 5\.0 kB of 12\.1 kB"):
        pull(hub)
    assert pinned() == {}
    assert [name for name in left(cache) if not name.startswith(models.COMING)] == []
    with pytest.raises(MissingWeights, match=f"not pulled: reelseek models pull {NAME}"):
        locate("openclip", NAME)
    hub.cuts.clear()
    pull(hub)
    assert hub.gets(weights(hub))[-1].span == "bytes=5000-"
    assert locate("openclip", NAME).weights.read_bytes() == WEIGHTS


def test_a_host_without_ranges_begins_anew(hub: hubs.Hub, tmp_path: Path) -> None:
    hub.ranges, hub.cuts["/a"] = False, [5000]
    downloads.fetch(remote(hub), tmp_path, quiet)
    assert (tmp_path / "a").read_bytes() == WEIGHTS


@pytest.mark.parametrize("old", [b"of another file", WEIGHTS + b"and more", b"x" * len(WEIGHTS)])
def test_a_part_of_another_file_is_brought_anew(hub: hubs.Hub, tmp_path: Path, old: bytes) -> None:
    (tmp_path / "a.part").write_bytes(old)
    downloads.fetch(remote(hub), tmp_path, quiet)
    assert (tmp_path / "a").read_bytes() == WEIGHTS
    assert not (tmp_path / "a.part").exists()


def test_without_a_hash_nothing_is_gone_on_with(hub: hubs.Hub, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"of another file")
    assert downloads.fetch(remote(hub, sha256=""), tmp_path, quiet) == sha256(WEIGHTS).hexdigest()
    hub.cuts["/a"] = [10, 10]
    with pytest.raises(Broken):
        downloads.fetch(remote(hub, sha256="", size=0), tmp_path, quiet)
    assert not (tmp_path / "a.part").exists()


def test_a_file_that_never_ends_is_cut_off(hub: hubs.Hub, tmp_path: Path) -> None:
    with pytest.raises(PullError, match="larger than"):
        downloads.fetch(remote(hub, size=100), tmp_path, quiet)
    assert list(tmp_path.glob("a*")) == []


@pytest.mark.parametrize("url", ["http://example.org/a", "ftp://127.0.0.1/a", "file:///etc/hostname", "a", "http://"])
def test_only_https_is_pulled_over(url: str, tmp_path: Path) -> None:
    with pytest.raises(PullError, match="not a https:// address"):
        downloads.fetch(Remote("a", url), tmp_path, quiet)


def test_nobody_is_redirected_to_plain_http(hub: hubs.Hub, tmp_path: Path) -> None:
    hub.moved["/a"] = "http://example.org/a"
    with pytest.raises(PullError, match=r"http://example\.org/a is not a https:// address"):
        downloads.fetch(remote(hub), tmp_path, quiet)


def test_who_is_logged_in_tells_it_to_the_hub_alone(hub: hubs.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    hub.files["/elsewhere"] = WEIGHTS
    hub.moved[weights(hub)] = hub.url("/elsewhere")
    plan = sources.found(NAME, sources.Hub(endpoint=hub.address))
    assert "hf_of_a_test" not in repr(plan)
    models.pull(plan, quiet, quiet)
    assert [one.authorised for one in hub.gets(weights(hub))] == [True]
    assert [one.authorised for one in hub.gets("/elsewhere")] == [False]
    assert "hf_of_a_test" not in lock_file().read_text()


# ------------------------------------------------------------------------------------------------------------- the rest


def test_a_model_that_was_whole_but_never_noted_is_not_brought_again(hub: hubs.Hub) -> None:
    pull(hub)
    lock_file().unlink()
    assert [fault != "" for _, fault in models.verify()] == [True]
    pull(hub)
    assert len(hub.gets(weights(hub))) == 1
    assert [fault for _, fault in models.verify()] == [""]


@pytest.mark.parametrize("harm", ["altered", "gone", "all gone"])
def test_a_pinned_model_is_brought_again_as_it_was(hub: hubs.Hub, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    before = pull(hub)
    file = before.path() / "open_clip_model.safetensors"
    if harm == "altered":
        file.write_bytes(WEIGHTS[:-1])
    elif harm == "gone":
        file.unlink()
    else:
        shutil.rmtree(before.path())
    with pytest.raises(WeightsError, match=f"reelseek models pull {NAME} brings it again"):
        locate("openclip", NAME)
    assert cards.here(NAME) is None
    after = models.pull(models.planned(NAME), quiet, quiet)
    assert (after.files, after.revision) == (before.files, before.revision)
    assert f"/api/models/tiny/clip/revision/{hubs.COMMIT}" in [one.path for one in hub.asked]
    assert cards.here(NAME) is not None
    locate("openclip", NAME)


def test_a_source_that_changed_is_not_taken_for_what_was_pinned(hub: hubs.Hub) -> None:
    one = pull(hub)
    shutil.rmtree(one.path())
    hub.add("tiny/clip", {**FILES, "tokenizer.json": b"[]"})
    with pytest.raises(PullError, match=r"another tokenizer\.json than models\.lock says: if .*reelseek models remove"):
        pull(hub)
    assert pinned() == {NAME: one}


def test_weights_of_an_address_are_brought_again_from_there(hub: hubs.Hub) -> None:
    pytest.importorskip("open_clip")
    hub.files["/own.safetensors"] = WEIGHTS
    one = pull(hub, "ViT-B-32:own", url=hub.url("/own.safetensors"), sha256=sha256(WEIGHTS).hexdigest())
    shutil.rmtree(one.path())
    assert models.pull(models.planned("ViT-B/32:own"), quiet, quiet).files == one.files


def test_remove_takes_all_of_it(hub: hubs.Hub, cache: Path) -> None:
    one = pull(hub)
    assert models.remove(NAME) == (NAME, one.size)
    assert left(cache) == []
    assert pinned() == {}
    with pytest.raises(UnknownModel):
        models.remove(NAME)


def test_remove_takes_what_a_broken_pull_left(hub: hubs.Hub, cache: Path) -> None:
    hub.cuts[weights(hub)] = [5000, 5000, 5000, 5000]
    with pytest.raises(Broken):
        pull(hub)
    models.remove(NAME)
    assert left(cache) == []


def test_other_models_stay_in_the_lock(hub: hubs.Hub) -> None:
    hub.add("tiny/other", FILES)
    pull(hub)
    pull(hub, "hf-hub:tiny/other")
    models.remove(NAME)
    assert list(pinned()) == ["hf-hub:tiny/other"]
    with pytest.raises(UnknownModel, match="did you mean hf-hub:tiny/other"):
        models.remove("hf-hub:tiny/othre")


def test_cards(hub: hubs.Hub, tmp_path: Path) -> None:
    one = pull(hub)
    card = cards.card(NAME)
    assert (card.dimension, card.parameters, card.memory, card.licence) == (8, 3000, 12000, "mit")
    assert cards.cards() == [card]
    own = cards.card(str(one.path()))
    assert (own.family, own.dimension, own.licence, own.pulled) == ("openclip", 8, "not stated", "")
    pytest.importorskip("open_clip")
    known = cards.card("ViT-B-16-SigLIP2:webli")
    assert (known.place, known.dimension, known.context, known.image, known.size) == ("", 768, 64, 224, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 9, "models": {}}',
        '{"version": 1, "models": {"a": {}}}',
        '{"version": 1, "models": {"a": {"family": "openclip", "folder": "../..", "source": "", "revision": "", '
        '"licence": "", "pulled": "", "files": {}, "size": 0}}}',
    ],
)
def test_a_lock_that_is_none_is_told(cache: Path, text: str) -> None:
    cache.mkdir()
    lock_file().write_text(text)
    with pytest.raises(AlteredWeights, match=r"models\.lock is not what reelseek writes"):
        pinned()


def test_nothing_pulled_is_nothing_here() -> None:
    assert pinned() == {}
    assert list(models.verify()) == []
    assert not models_folder().exists()
