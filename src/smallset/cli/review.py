"""`smallset review`: check photos and labels on a page."""

from smallset.cli.demo import Browser


def review(browser: Browser = True) -> None:
    """Check the photos of a pipeline on a page that only this machine can open, and correct their labels.

    It shows label issues, duplicates, outliers, dark and blurry photos, confident mistakes, and every class. Decisions
    (keep, relabel, leave out) are written to corrections.csv, and the next dvc repro applies them; no photo changes.
    Run it in the folder of a pipeline. Needs the extra web.
    """
    from smallset.web import review as page

    page.run(browser)
