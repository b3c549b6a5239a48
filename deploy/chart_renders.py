"""Renders the chart with every ci/*-values.yaml into tests/chart/renders, where a review sees what a change does.

    python -m deploy.chart_renders            # those that are reviewed
    python -m deploy.chart_renders FOLDER     # whole, for tools that check them

Needs helm: deploy/install_tools.sh helm.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
CHART = ROOT / "helm/wardgate"
HELM = ROOT / ".cache/tools/bin/helm"
RENDERS = ROOT / "tests/chart/renders"
VALUES = tuple(sorted((CHART / "ci").glob("*-values.yaml")))

RELEASE, NAMESPACE, KUBERNETES = "wardgate", "guard", "1.34"


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """With folders of its own, so that nobody's settings or plugins count."""
    scratch = ROOT / ".cache/helm"
    homes = {f"HELM_{home}_HOME": str(scratch / home.lower()) for home in ("CACHE", "CONFIG", "DATA")}
    return subprocess.run(  # noqa: S603 - our own tool
        [HELM, *arguments], env=os.environ | homes, capture_output=True, text=True, timeout=120, check=False
    )


def template(*arguments: str | Path, kubernetes: str = KUBERNETES) -> subprocess.CompletedProcess[str]:
    return helm("template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", kubernetes, *arguments)


def render(values: Path) -> str:
    """Raises RuntimeError with helm's words when there is nothing to render."""
    done = template("--values", values)
    if done.returncode:
        raise RuntimeError(f"{values.name}: {done.stderr}")
    return done.stdout


def without_files(text: str) -> str:
    """Dashboards and rules have a place of their own, and would change with each of their changes: only named here."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    for document in documents:
        labels = document["metadata"].get("labels", {})
        if document["kind"] == "PrometheusRule":
            document["spec"]["groups"] = [group["name"] for group in document["spec"]["groups"]]
        if labels.get("app.kubernetes.io/component") == "dashboards":
            document["data"] = dict.fromkeys(document["data"], "...")
    return yaml.safe_dump_all(documents, sort_keys=False, width=120)


def golden(values: Path) -> Path:
    return RENDERS / f"{values.name.removesuffix('-values.yaml')}.yaml"


def renew() -> None:
    RENDERS.mkdir(parents=True, exist_ok=True)
    for stale in set(RENDERS.glob("*.yaml")) - {golden(values) for values in VALUES}:
        stale.unlink()
    for values in VALUES:
        golden(values).write_text(without_files(render(values)))


def render_all(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for values in VALUES:
        (folder / golden(values).name).write_text(render(values))


if __name__ == "__main__":
    if sys.argv[1:]:
        render_all(Path(sys.argv[1]))
    else:
        renew()
