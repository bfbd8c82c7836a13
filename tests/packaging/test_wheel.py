"""The wheel, installed away from the checkout: an editable install alone hides missing files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from neuronmap_sql.queries.catalog import queries

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONTENT = "neuronmap_sql/_content"


def run(command: list[str | Path], cwd: Path) -> str:
    """Run a command with nothing of the checkout in its environment; return what it printed."""
    hidden = ("PYTHONPATH", "NEURONMAP_WAREHOUSE", "VIRTUAL_ENV")
    env = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        command, cwd=cwd, env=env | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, ROOT]
    run(build, target)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment: the wheel, and the dependencies that are installed here.

    A path in a .pth file makes packages importable, but the .pth files in that folder, such as
    that of the editable install, are not followed.
    """
    root = tmp_path_factory.mktemp("installed") / "env"
    run([sys.executable, "-m", "venv", "--without-pip", root], root.parent)
    python = root / "bin" / "python"
    run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
         wheel], root.parent,
    )  # fmt: skip
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run([python, "-c", asked], root.parent).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("away")


@pytest.fixture(scope="module")
def warehouse(python: Path, away: Path) -> Path:
    """Two packaged demo models and a checkpoint over the beginning of the packaged text."""
    asked = "from neuronmap_sql.content import folder; print(folder('ingest') / 'demo.toml')"
    recipe = run([python, "-c", asked], away).strip()
    command = [python.with_name("neuronmap"), "ingest", recipe, "--to", "demo.warehouse", "-q"]
    few = ["--set", "data.limit=60"]
    run([*command, *few, "--keep", "stats,top,samples,weights,firings,activations,vectors"], away)
    for name in ("demo-b", "demo-a@step400"):
        other = Path(recipe).parents[1] / "demo" / "models" / name.replace("@", "-")
        run([*command, *few, "--model", other, "--name", name, "--keep", "stats,weights"], away)
    table = [ROOT / "tests" / "imports" / "published.csv", "--model", "demo-a", "--dataset", "pile"]
    to = ["--to", "demo.warehouse"]
    run([command[0], "import", "neurons", *table, *to], away)
    run([command[0], "analyze", "labels", "-m", "demo-a", "-w", "demo.warehouse", "-q"], away)
    demo = Path(recipe).parents[1] / "demo"
    three = [
        part for name in ("demo-a", "demo-b", "demo-c") for part in ("-m", demo / "models" / name)
    ]
    text = ["--data", demo / "text.jsonl.gz", "--set", "data.name=demo"]
    labels = ["--set", 'data.labels=["source", "split"]']
    run([command[0], "compare", *three, *text, *labels, *few, *to, "-q"], away)
    one = ["-n", "SELECT 'demo-a' AS model, 0 AS layer, 1 AS neuron", "--controls", "1"]
    run([command[0], "ablate", *one, "--data", "demo", "--limit", "3", *to, "-q"], away)
    return away / "demo.warehouse"


def files(*folders: str) -> set[str]:
    """Tracked files of the checkout's folders, as the wheel should name them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, check=True
    )
    names = listed.stdout.decode().strip("\0").split("\0")
    return {f"{CONTENT}/{name}" for name in names if (ROOT / name).exists()}


def test_the_wheel_holds_what_is_declared(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as held:
        names = set(held.namelist())
    declared = files("ingest", "warehouse", "queries", "demo/models", "demo/NOTICE.md")
    assert len(declared) > 100
    assert declared <= names
    assert f"{CONTENT}/demo/text.jsonl.gz" in names
    assert "neuronmap_sql/py.typed" in names
    assert sum(name.endswith("model.safetensors") for name in names) >= 6


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
    assert not [name for name in names if "corpus" in name or "__pycache__" in name]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"neuronmap_sql"}
    print(f"\n{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {len(names)} files")
    assert wheel.stat().st_size < 40e6


def test_the_package_is_the_installed_one(python: Path, away: Path) -> None:
    asked = "import sys, neuronmap_sql as nm; print(nm.__file__); print(*sys.path, sep='\\n')"
    file, *paths = run([python, "-c", asked], away).splitlines()
    assert Path(file).is_relative_to(python.parents[1])
    assert str(ROOT) not in paths


def test_every_named_query_runs(python: Path, away: Path, warehouse: Path) -> None:
    """With the example of its header, in one process, from the installed files."""
    code = (
        "import json, sys, neuronmap_sql as nm\n"
        "from neuronmap_sql.queries.catalog import queries\n"
        "wh = nm.open(sys.argv[1])\n"
        "rows = {q.name: len(wh.query(q.name, **q.example).arrow()) for q in queries().values()}\n"
        "print(json.dumps(rows))"
    )
    rows = json.loads(run([python, "-c", code, warehouse], away))
    assert set(rows) == set(queries())
    empty = sorted(name for name, count in rows.items() if count == 0)
    print(f"\nno rows: {', '.join(empty)}")
    assert len(empty) <= 0.25 * len(rows), empty


def test_the_command_answers(python: Path, away: Path, warehouse: Path) -> None:
    command = python.with_name("neuronmap")
    asked = [command, "query", "layer_profile", "-p", "model=demo-a", "-w", warehouse, "-f", "csv"]
    assert len(run(asked, away).splitlines()) == 5
    plot = [command, "plot", "neuron", "demo-a", "2", "7", "-o", "a.png", "-w", warehouse]
    assert run(plot, away).strip() == "a.png"
    assert (away / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "gpt2" in run([command, "models"], away)
