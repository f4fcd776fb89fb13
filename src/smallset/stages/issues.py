"""Find duplicates, photos in two splits, outliers, and labels that may be wrong."""

from pathlib import Path

from smallset.datasets.dataset import Dataset
from smallset.evaluation import issues, label_issues
from smallset.features import store
from smallset.pipeline import files, stage

METRICS = Path("metrics")


def main() -> None:
    """Write all issues; then fail when photos are in two splits and the params do not accept that."""
    p = stage.load_params()
    dataset = Dataset.read()
    features = store.Features.read(store.FILE, dataset)
    labels, wrong = label_issues.judge_labels(features, p.seed)
    table = issues.find_issues(dataset, features)
    files.write_csv(METRICS / "issues.csv", table)
    files.write_csv(METRICS / "label_issues.csv", labels)
    files.write_json(METRICS / "issues.json", issues.summarize(table, len(labels), wrong))
    print(wrong)
    print(issues.check_leakage(table, p.issues.leakage))
