"""params.yaml as frozen values with strict types: an unknown, missing or mistyped key is an error that names it."""

import difflib
import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smallset.pipeline.errors import SmallsetError

Count = Annotated[int, Field(gt=0)]
Rate = Annotated[FiniteFloat, Field(gt=0)]
Share = Annotated[FiniteFloat, Field(ge=0, lt=1)]

SHARES: dict[str, tuple[Any, str]] = {  # by the key `by` of a split: what train, validation and test have to be
    "count": (int, "a number of photos per class, as 1000, for by: count"),
    "fraction": (float, "a fraction of the photos, as 0.2, for by: fraction"),
    "given": (NoneType, "null for by: given, because the folders or the table contain the splits"),
}

COMPLETE = "Add it; smallset upgrade adds all new keys with their comments."
ABSENT: Any = Field(default=None)  # for keys that a pipeline without their stages leaves out
HINTS = {"learning_rate": " Write a small number as 1.0e-5."}


class Strict(BaseModel):
    """A mapping with exactly these keys, of exactly these types.

    No key has a default value: a default in code would be a dependency that DVC does not know. No key is called size
    or nfiles: DVC's run cache ignores these names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def only(self, keys: Collection[str]) -> Self:
        """A copy with the keys that a stage declares, as seed or augmentation.flip; others raise AttributeError."""
        parts: dict[str, list[str]] = {}
        for first, _, rest in (key.partition(".") for key in keys):
            parts.setdefault(first, []).append(rest)
        for name in sorted(parts.keys() - self.model_fields_set):
            raise SmallsetError(f"params.yaml: missing key {name!r}. {COMPLETE}")
        copy = self.model_copy()
        for name in type(self).model_fields:
            if name not in parts:
                copy.__dict__.pop(name, None)
            elif "" not in parts[name]:
                copy.__dict__[name] = getattr(self, name).only(parts[name])
        return copy


class Augmentation(Strict):
    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"]
    rotation: Share
    zoom: Share
    fill: Literal["reflect", "nearest", "wrap", "constant"]


class Backbone(Strict):
    name: str
    weights: str | None
    last_frozen_layer: str


class Mirror(Strict):
    url: str
    sha256: str | None


class Synthetic(Strict):
    photos_per_class: Count
    image_size: Annotated[int, Field(ge=32)]


class Download(Strict):
    """A pipeline writes the keys of its own source only."""

    source: Literal["dogs-vs-cats", "folder", "synthetic", "mnist"]
    mirrors: list[Mirror] = ABSENT
    folder: str | None = ABSENT
    table: str | None = ABSENT
    synthetic: Synthetic = ABSENT

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        key = {"dogs-vs-cats": "mirrors", "mnist": "source"}.get(self.source, self.source)
        if key not in self.model_fields_set:
            raise ValueError(f"expected the key {key!r} for source: {self.source}")
        return self


class Split(Strict):
    by: Literal["count", "fraction", "given"]
    train: Any
    validation: Any
    test: Any
    exclude: list[str]
    table: str | None = ABSENT

    @property
    def shares(self) -> dict[str, Any]:
        """The count, the fraction or None of each split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        kind, expected = SHARES[self.by]
        for split, share in self.shares.items():
            if type(share) is not kind or (share is not None and share <= 0):
                raise ValueError(f"{split}: expected {expected}, found {share!r}")
        if self.by == "fraction" and sum(self.shares.values()) > 1 + 1e-9:
            raise ValueError(f"expected fractions with a sum of at most 1, found {self.shares}")
        return self


class FeatureExtraction(Strict):
    backbone: str
    weights: str | None
    image_sizes: Annotated[list[Annotated[int, Field(ge=32)]], Field(min_length=1)]


class Issues(Strict):
    leakage: Literal["error", "warning"]


class LinearProbe(Strict):
    C: Annotated[list[Rate], Field(min_length=1)]
    class_weight: Literal["balanced"] | None
    calibrate: bool


class Training(Strict):
    batch_size: Count
    epochs: Count
    learning_rate: Rate
    optimizer: Literal["rmsprop", "adam"]
    ema_momentum: Share | None
    class_weight: Literal["balanced"] | None
    calibrate: bool
    patience: Count | None


class Convnet(Training):
    filters: Annotated[list[Count], Field(min_length=1)]
    max_pooling: Annotated[int, Field(ge=0)]
    dense_units: Count | None
    dropout: Share
    color: Literal["rgb", "grayscale"]

    @property
    def smallest(self) -> int:
        """The smallest image_size of which the convolutions leave a pixel; 78 for the book's network."""
        pixels = 1
        for layer in reversed(range(len(self.filters))):
            pixels = (2 * pixels if layer < self.max_pooling else pixels) + 2
        return pixels


class Head(Training):
    dense_units: Count
    dropout: Share


class FineTuning(Training):
    trainable: str  # auto, last_block, all, or the name of the last layer that stays frozen
    minutes: Rate | None


class Activations(Strict):
    views: Annotated[int, Field(ge=0)]


class Seeds(Strict):
    classifier: Count
    augmented: Count
    fine_tune: Count


def _check_class_prior(prior: object) -> object:
    shares = prior.values() if isinstance(prior, dict) else []
    if prior not in ("training", "equal") and not (
        shares and all(type(x) in (int, float) and 0 < x < math.inf for x in shares)
    ):
        raise ValueError(
            f"expected training, equal, or a share above 0 for each class, as {{a: 0.9, b: 0.1}}; found {prior!r}"
        )
    return {str(label): share for label, share in prior.items()} if isinstance(prior, dict) else prior


class Params(Strict):
    """All of params.yaml."""

    smallset: str = ABSENT
    seed: Annotated[int, Field(ge=0)] = ABSENT
    precision: Literal["auto", "float32"] = ABSENT
    class_prior: Annotated[Any, AfterValidator(_check_class_prior)] = ABSENT
    image_size: Count = ABSENT
    augmentation: Augmentation = ABSENT
    backbone: Backbone = ABSENT
    download: Download = ABSENT
    subset: Split = ABSENT
    split: Split = ABSENT
    features: FeatureExtraction = ABSENT
    issues: Issues = ABSENT
    linear_probe: LinearProbe = ABSENT
    convnet: Convnet = ABSENT
    convnet_unpooled: Convnet = ABSENT
    convnet_augmented: Convnet = ABSENT
    activations: Activations = ABSENT
    classifier: Head = ABSENT
    augmented: Head = ABSENT
    fine_tune: FineTuning = ABSENT
    seeds: Seeds = ABSENT

    @model_validator(mode="after")
    def _check_image_size(self) -> Self:
        for key, value in self:
            if isinstance(value, Convnet) and self.image_size and self.image_size < value.smallest:
                raise ValueError(f"image_size: expected {value.smallest} or more for {key}, found {self.image_size}")
        return self


def read(path: Path) -> Params:
    """Read and check a params.yaml; the SmallsetError lists every wrong key and what was expected."""
    return parse(load(path), path.name)


def new_project() -> Params:
    """The params of a new project, which are the defaults in notebooks."""
    return read(Path(__file__).parents[1] / "project/params.yaml")


def load(path: Path) -> dict[str, Any]:
    """Read YAML 1.2, as DVC does: `dvc exp run -S` writes 5e-06, which YAML 1.1 reads as text."""
    try:
        document = YAML(typ="safe", pure=True).load(path)  # the C parser crashes on deep nesting
    except FileNotFoundError:
        raise SmallsetError(f"{path} is missing. Run the command in the folder of a project.") from None
    except (YAMLError, ValueError, RecursionError) as error:  # not UTF-8, not a number, too deeply nested
        raise SmallsetError(f"{path} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise SmallsetError(f"{path}: expected keys with values, as seed: 1337; found {document!r}.")
    return document


def parse(document: object, name: str = "params.yaml") -> Params:
    """Check a parsed YAML document."""
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        raise SmallsetError("\n".join(_explain(name, problem) for problem in error.errors())) from None


def suggest(word: str, names: Iterable[str]) -> str:
    """The sentence " Did you mean ...?" with the name that is nearest to `word`, if one is near."""
    by_lower_case = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), by_lower_case, 1)
    return f" Did you mean {by_lower_case[close[0]]!r}?" if close else ""


def _explain(name: str, problem: ErrorDetails) -> str:
    """One line: the file, the key, what was expected, what was found, and the likely fix."""
    location = problem["loc"]
    whole = "".join(f"{part}: " for part in location)
    parent, key = "".join(f"{part}: " for part in location[:-1]), str((location or ("",))[-1])
    if problem["type"] == "extra_forbidden":
        keys = _keys(location[:-1])
        return f"{name}: {parent}unknown key {key!r}. Expected: {', '.join(keys)}.{suggest(key, keys)}"
    if problem["type"] == "missing":
        return f"{name}: {parent}missing key {key!r}. {COMPLETE}"
    if problem["type"] == "model_type":
        return f"{name}: {whole}expected the keys {', '.join(_keys(location))}; found {problem['input']!r}."
    if problem["type"] == "value_error":
        return f"{name}: {whole}{problem['msg'].removeprefix('Value error, ')}."
    expected = problem["msg"].removeprefix("Input should be ")
    return f"{name}: {whole}expected {expected}, found {problem['input']!r}.{HINTS.get(key, '')}"


def _keys(location: Sequence[int | str]) -> list[str]:
    """The keys that the mapping at `location` may have."""
    model: Any = Params
    for part in location:
        annotation = Mirror if isinstance(part, int) else model.model_fields[part].annotation
        model = next((inner for inner in get_args(annotation) if hasattr(inner, "model_fields")), annotation)
    return list(model.model_fields)
