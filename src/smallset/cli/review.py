"""`smallset review`: check photos and labels on a page."""

from smallset.cli import console
from smallset.cli.demo import Browser
from smallset.pipeline import dvc_lock


def review(browser: Browser = True) -> None:
    """Check the photos of a project on a page that only this machine can open, and correct their labels.

    Run it in the project's folder, after dvc repro. The page shows labels that may be wrong, duplicates, unusual, dark
    and blurry photos, mistakes of the model, and every class. Your decisions (keep, relabel, leave out) are written to
    corrections.csv, and the next dvc repro applies them. No photo changes.
    """
    from smallset.web import review as page

    console.print_notes(dvc_lock.describe_project())
    page.run(browser)
