"""`smallset explain`: draw where in a photo a model sees evidence for a class."""

from pathlib import Path
from typing import Annotated

import typer

from smallset.cli import console, options
from smallset.pipeline import files, process, text
from smallset.pipeline.errors import SmallsetError

Photo = Annotated[Path, typer.Argument(metavar="PHOTO", exists=True, dir_okay=False, help="A photo.")]
Output = Annotated[
    Path | None, typer.Option(help="A new .png file. Default: <photo>.gradcam.png in the current folder.")
]
Label = Annotated[str | None, typer.Option(help="The class to explain. Default: the most probable one.")]


def explain(model: options.Model, photo: Photo, output: Output = None, label: Label = None) -> None:
    """Draw where in a photo a model sees evidence for a class.

    Writes the photo under a heat map, red where the evidence is strongest, and prints its path, the class and the
    probability. The method is Grad-CAM, or HiResCAM where Grad-CAM finds nothing (Chollet 2021, section 9.4.3).
    """
    endings = (f".gradcam{number}.png" for number in ["", *map("-{}".format, range(2, 10_000))])
    names = (Path(files.fit_name(photo.stem, ending)) for ending in endings)
    target = output or next(path for path in names if not path.exists())  # cat/1.jpg and dog/1.jpg get two
    if target.exists() or target.suffix != ".png":
        raise SmallsetError(f"{target}: expected a new file that ends in .png. Name another one with --output.")
    from smallset.images import decoding

    pixels, classifier = decoding.decode(photo), console.load_classifier(model)
    process.import_tensorflow()
    from smallset.reports import figures, gradcam

    figure, name, probability = gradcam.explain(classifier, pixels, label)
    figures.save(figure, target)
    print(text.visible(f"{target}: {name} {probability:.4f}"))
