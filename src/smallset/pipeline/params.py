"""params.yaml as frozen, strict values: a key too many, too few or mistyped is an error that names it."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smallset.pipeline.errors import SmallsetError

Count = Annotated[int, Field(gt=0)]
Rate = Annotated[FiniteFloat, Field(gt=0)]
Share = Annotated[FiniteFloat, Field(ge=0, lt=1)]

# What subset.train, validation and test are, by subset.by.
SIZES: dict[str, tuple[Callable[[object], bool], str]] = {
    "count": (lambda size: type(size) is int and size > 0, "a number of photos a class, as 1000, for by: count"),
    "fraction": (lambda size: type(size) is float and 0 < size < 1, "a share of each class, as 0.2, for by: fraction"),
    "given": (lambda size: size is None, "null for by: given, the folder or the table having the splits"),
}

# What base.name may be, as text alone: every stage reads params.yaml, and few need Keras. A test holds it to the bases
# that smallset.bases can build.
BASES = (
    *("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"),
    *("DenseNet121", "DenseNet169", "DenseNet201"),
    *(f"EfficientNetB{number}" for number in range(8)),
    *("EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2"),
    *("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3"),
    *("EfficientNetV2S", "EfficientNetV2M", "EfficientNetV2L"),
    *("InceptionResNetV2", "InceptionV3"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small"),
    *("NASNetLarge", "NASNetMobile"),
    *("ResNet50", "ResNet50V2", "ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2"),
    *("VGG16", "VGG19", "Xception"),
)

HUB = "hub:"  # before the name of a preset of keras-hub, or of its folder

COMPLETE = "Add it; the values of the book are in the repository's params.yaml."
ABSENT: Any = Field(default=None)
CURES = {"learning_rate": " A small number, as 1.0e-5."}


class Strict(BaseModel):
    """A mapping with exactly these keys, of exactly these types.

    No key may be called size or nfiles: DVC's run cache leaves such names out, and would take the results of another
    size for those of this one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Image(Strict):
    side: Count


class Augmentation(Strict):
    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"]
    rotation: Share
    shift: Share
    shear: Annotated[FiniteFloat, Field(ge=0, lt=90)]
    zoom: Share
    keep_aspect: bool
    fill: Literal["reflect", "nearest", "wrap", "constant"]


class Base(Strict):
    name: str
    weights: str | None
    cut: str | None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name == HUB:
            raise ValueError(f"expected a preset behind it, as {HUB}dinov2_small or {HUB}./folder; found {name!r}")
        if not name.startswith(HUB) and name not in BASES:
            raise ValueError(f"expected {HUB}preset or one of {', '.join(BASES)}; found {name!r}.{meant(name, BASES)}")
        return name


class Mirror(Strict):
    url: str
    sha256: str | None


class Sample(Strict):
    photos: Count
    side: Annotated[int, Field(ge=32)]


class Download(Strict):
    """The keys of other sources may be left out."""

    source: Literal["dogs-vs-cats", "folder", "sample", "mnist"]
    mirrors: list[Mirror] = []
    folder: str | None = None
    table: str | None = None
    sample: Sample | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Download":
        if self.source == "sample" and self.sample is None:
            raise ValueError("expected the key 'sample' for source: sample, with photos and side")
        return self


class Subset(Strict):
    by: Literal["count", "fraction", "given"]
    train: Any = None
    validation: Any = None
    test: Any = None
    exclude: list[str] = []

    @property
    def sizes(self) -> dict[str, Any]:
        """Split to a count, a fraction or None."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Subset":
        fits, words = SIZES[self.by]
        for split, size in self.sizes.items():
            if not fits(size):
                raise ValueError(f"{split}: expected {words}, found {size!r}")
        if self.by == "fraction" and sum(self.sizes.values()) > 1 + 1e-9:
            raise ValueError(f"expected fractions of 1 in all, found {self.sizes}")
        return self


class Audit(Strict):
    leakage: Literal["error", "warning"]
    near: Annotated[int, Field(ge=0, le=16)]


class Training(Strict):
    batch: Count
    epochs: Count
    steps: Count | None = None
    learning_rate: Rate
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    epsilon: Rate
    ema_momentum: Share | None
    class_weights: Literal["balanced"] | None
    calibrate: bool
    patience: Count | None = None


class Convnet(Training):
    filters: Annotated[list[Count], Field(min_length=1)]
    pooled: Annotated[int, Field(ge=0)]
    units: Count | None
    dropout: Share
    color: Literal["rgb", "grey"]

    @property
    def smallest(self) -> int:
        """px; of less, the 3x3 convolutions and the halvings leave nothing. 78 for the book's network."""
        side = 1
        for number in reversed(range(len(self.filters))):
            side = (2 * side if number < self.pooled else side) + 2
        return side


class HeadTraining(Training):
    units: Count
    dropout: Share


class Activations(Strict):
    views: Annotated[int, Field(ge=0)]


class Tuning(Training):
    depth: Literal["top", "whole"] | None
    augmentation: Augmentation | None = None


class Larger(Strict):
    side: Count | None
    mirror: bool


class Linear(Strict):
    C: Rate | None
    class_weights: Literal["balanced"] | None
    calibrate: bool


class Seeds(Strict):
    classifier: Count
    augmented: Count
    fine_tune: Count
    pooled: Count


class Compare(Strict):
    smoothing: Share


class Params(Strict):
    """All of params.yaml; a stage is given the keys that it declares in dvc.yaml, and no other attribute.

    A pipeline leaves out the keys of stages that it has not.
    """

    seed: Annotated[int, Field(ge=0)]
    precision: Literal["auto", "float32"]
    image: Image = ABSENT
    augmentation: Augmentation = ABSENT
    base: Base = ABSENT
    download: Download = ABSENT
    subset: Subset = ABSENT
    audit: Audit = ABSENT
    convnet: Convnet = ABSENT
    convnet_unpooled: Convnet = ABSENT
    convnet_augmented: Convnet = ABSENT
    activations: Activations = ABSENT
    classifier: HeadTraining = ABSENT
    augmented: HeadTraining = ABSENT
    fine_tune: Training = ABSENT
    larger: Larger = ABSENT
    linear: Linear = ABSENT
    pooled: Tuning = ABSENT
    seeds: Seeds = ABSENT
    compare: Compare = ABSENT

    @model_validator(mode="after")
    def _large_enough(self) -> "Params":
        for key in sorted(self.model_fields_set):
            value = getattr(self, key)
            if isinstance(value, Convnet) and self.image.side < value.smallest:
                raise ValueError(f"image: side: expected {value.smallest} or more for {key}, found {self.image.side}")
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
    return f"{name}: {parent}{key}: expected {expected}, found {problem['input']!r}.{CURES.get(str(key), '')}"


def _keys(parents: Sequence[int | str]) -> list[str]:
    """The keys that the mapping at `parents` may have."""
    model: Any = Params
    for part in parents:
        annotation = Mirror if isinstance(part, int) else model.model_fields[part].annotation
        # Of Sample | None and of list[Mirror] the model.
        model = next((one for one in get_args(annotation) if hasattr(one, "model_fields")), annotation)
    return list(model.model_fields)
