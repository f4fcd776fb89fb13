"""params.yaml as frozen, strict values: a key too many, too few or mistyped is an error that names it."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smallset.pipeline.errors import SmallsetError

Count = Annotated[int, Field(gt=0)]
Rate = Annotated[FiniteFloat, Field(gt=0)]
Share = Annotated[FiniteFloat, Field(ge=0, lt=1)]

# What train, validation and test are in a split, by its key `by`.
SHARES: dict[str, tuple[Callable[[object], bool], str]] = {
    "count": (lambda share: type(share) is int and share > 0, "a number of photos per class, as 1000, for by: count"),
    "fraction": (
        lambda share: type(share) is float and 0 < share < 1,
        "a fraction of the photos, as 0.2, for by: fraction",
    ),
    "given": (lambda share: share is None, "null for by: given, because the folders or the table contain the splits"),
}

COMPLETE = "Add it; smallset upgrade adds all new keys with their comments."
ABSENT: Any = Field(default=None)  # a pipeline without the stages that need a key leaves it out
HINTS = {"learning_rate": " Write a small number as 1.0e-5."}


class Strict(BaseModel):
    """A mapping with exactly these keys, of exactly these types.

    No key has a default value: a default in code would be a dependency that DVC does not know. No key is called size
    or nfiles: DVC's run cache ignores these names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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
    def _complete(self) -> "Download":
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
    def _of_one_kind(self) -> "Split":
        fits, words = SHARES[self.by]
        for split, share in self.shares.items():
            if not fits(share):
                raise ValueError(f"{split}: expected {words}, found {share!r}")
        if self.by == "fraction" and sum(self.shares.values()) > 1 + 1e-9:
            raise ValueError(f"expected fractions with a sum of at most 1, found {self.shares}")
        return self


class FeatureExtraction(Strict):
    backbone: str
    weights: str | None
    image_sizes: Annotated[list[Annotated[int, Field(ge=32)]], Field(min_length=1)]


class Issues(Strict):
    leakage: Literal["error", "warning"]
    max_hash_distance: Annotated[int, Field(ge=0, le=16)]


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
        """The smallest side in px from which the convolutions leave anything; 78 for the book's network."""
        side = 1
        for number in reversed(range(len(self.filters))):
            side = (2 * side if number < self.max_pooling else side) + 2
        return side


class Head(Training):
    dense_units: Count
    dropout: Share


class FineTuning(Training):
    trainable: str  # auto, last_block, all, or the name of the last layer that stays frozen


class Activations(Strict):
    views: Annotated[int, Field(ge=0)]


class Seeds(Strict):
    classifier: Count
    augmented: Count
    fine_tune: Count


class Params(Strict):
    """All of params.yaml. `only` limits it to the keys that a stage declares in dvc.yaml."""

    smallset: str = ABSENT
    seed: Annotated[int, Field(ge=0)]
    precision: Literal["auto", "float32"]
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
    def _large_enough(self) -> "Params":
        for key in sorted(self.model_fields_set):
            value = getattr(self, key)
            if isinstance(value, Convnet) and self.image_size < value.smallest:
                raise ValueError(f"image_size: expected {value.smallest} or more for {key}, found {self.image_size}")
        return self

    def only(self, keys: list[str]) -> "Params":
        """The same with `keys` alone: reading another attribute raises AttributeError, so no stage drifts."""
        wanted = {key.partition(".")[0] for key in keys}  # of seeds.classifier, all of seeds
        for key in sorted(wanted - self.model_fields_set):
            raise SmallsetError(f"params.yaml: missing key {key!r}. {COMPLETE}")
        own = self.model_copy()
        for key in set(Params.model_fields) - wanted:
            own.__dict__.pop(key, None)
        return own


def read(path: Path) -> Params:
    """Read and check the whole file; SmallsetError lists every key that is wrong and what was expected.

    As YAML 1.2, like DVC: `dvc exp run -S` writes 5e-06, which is text to PyYAML and its YAML 1.1.
    """
    try:
        return parse(YAML(typ="safe", pure=True).load(path), path.name)
    except FileNotFoundError:
        raise SmallsetError(
            f"{path} is missing. Run from a pipeline folder: one with dvc.yaml and params.yaml."
        ) from None
    except (YAMLError, ValueError, RecursionError) as error:  # no UTF-8, no number, pages of [
        raise SmallsetError(f"{path} is not YAML: {error}") from None


def parse(document: object, name: str = "params.yaml") -> Params:
    """Check a parsed YAML document against `Params`."""
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        raise SmallsetError("\n".join(_explain(name, problem) for problem in error.errors())) from None


def meant(word: str, known: Iterable[str]) -> str:
    """The question whether the nearest of the known words was meant, if one is near; its case does not count."""
    by_case = {one.lower(): one for one in known}
    close = difflib.get_close_matches(word.lower(), by_case, 1)
    return f" Did you mean {by_case[close[0]]!r}?" if close else ""


def _explain(name: str, problem: ErrorDetails) -> str:
    """One line: file, key, what was expected, what came, and the likely cure."""
    *parents, key = problem["loc"] or ("",)
    parent = "".join(f"{part}: " for part in parents)
    if problem["type"] == "extra_forbidden":
        known = _keys(parents)
        return f"{name}: {parent}unknown key {key!r}. Expected: {', '.join(known)}.{meant(str(key), known)}"
    if problem["type"] == "missing":
        return f"{name}: {parent}missing key {key!r}. {COMPLETE}"
    if problem["type"] == "model_type":
        where = "".join(f"{part}: " for part in problem["loc"])
        return f"{name}: {where}expected the keys {', '.join(_keys(problem['loc']))}; found {problem['input']!r}."
    if problem["type"] == "value_error":
        where = "".join(f"{part}: " for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        return f"{name}: {where}{message}{'' if message.endswith(('.', '?')) else '.'}"
    expected = problem["msg"].removeprefix("Input should be ")
    return f"{name}: {parent}{key}: expected {expected}, found {problem['input']!r}.{HINTS.get(str(key), '')}"


def _keys(parents: Sequence[int | str]) -> list[str]:
    """The keys that the mapping at `parents` may have."""
    model: Any = Params
    for part in parents:
        annotation = Mirror if isinstance(part, int) else model.model_fields[part].annotation
        # Of Sample | None and of list[Mirror] the model.
        model = next((one for one in get_args(annotation) if hasattr(one, "model_fields")), annotation)
    return list(model.model_fields)
