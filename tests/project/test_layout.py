import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source_tree import FOLDERS, ROOT, STAGES


def imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_other_stage(stage: str) -> None:
    others = [f"pacos.{other}" for other in STAGES if other != stage]
    for file in (ROOT / stage).rglob("*.py"):
        for name in imports(file):
            assert not any(name == other or name.startswith(f"{other}.") for other in others), f"{file} imports {name}"
            assert name.split(".")[0] not in STAGES, f"{file} imports {name}: write pacos.{name}"


def modules() -> dict[str, Path]:
    """{module: its file} of the whole product, the stages' links resolved."""
    found = {}
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            if any(parent.is_symlink() for parent in file.parents):
                continue
            parts = [*file.relative_to(ROOT).with_suffix("").parts]
            parts = parts if folder == "pacos" else ["pacos", *parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def test_the_shared_floor_imports_no_stage() -> None:
    for module, file in modules().items():
        stage = module.split(".")[1:2]
        # Commands and the public interface look up, inside their functions.
        if stage in ([name] for name in STAGES) or stage in (["cli"], ["api"]):
            continue
        for name in imports(file):
            assert not any(name.startswith(f"pacos.{stage}") for stage in STAGES), f"{file} imports {name}"


def test_no_modules_import_one_another_in_a_circle() -> None:
    """Imports inside functions count."""
    known = modules()
    waiting = {}
    for module, file in known.items():
        wanted = {name if name in known else name.rpartition(".")[0] for name in imports(file)}
        waiting[module] = wanted & known.keys() - {module}
    while ready := {module for module, others in waiting.items() if not others & waiting.keys()}:
        for module in ready:
            del waiting[module]
    assert not waiting, f"these import one another: {sorted(waiting)}"


def test_no_module_hides_the_standard_library_or_a_dependency() -> None:
    taken = sys.stdlib_module_names | {"datasets", "peft", "accelerate", "transformers", "vllm", "torch", "aiohttp"}
    for stage in STAGES:
        hidden = {file.stem for file in (ROOT / stage).glob("*.py")} & taken
        assert not hidden, f"{stage}/ would hide {hidden} when it is on sys.path"


def test_evaluate_leaves_hugging_face_its_name(tmp_path: Path) -> None:
    assert not (ROOT / "evaluate" / "__init__.py").exists()
    theirs = tmp_path / "evaluate"
    theirs.mkdir()
    (theirs / "__init__.py").write_text("WHOSE = 'hugging face'\n", encoding="utf-8")
    # The repository's root comes first on the path, as under `accelerate launch train.py`.
    paths = f"sys.path[:0] = [{str(ROOT)!r}]; sys.path.append({str(tmp_path)!r})"
    program = f"import sys; {paths}; import evaluate; print(evaluate.WHOSE)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert answer.stdout.strip() == "hugging face"


def test_stages_are_importable_from_a_checkout_that_is_not_installed() -> None:
    program = (
        "import pacos.generate.known, pacos.train, pacos.evaluate, pacos.self_rewarding; print(pacos.generate.__name__)"
    )
    command = [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path[1:]!r}; {program}"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert answer.stdout.strip() == "pacos.generate"


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "aiohttp", "datasets", "peft", "plotly", "numpy"}
    program = f"import sys, pacos.cli; print(sorted({heavy!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "benchmarks").glob("*.py")))
def test_every_benchmark_finds_what_it_imports(name: str) -> None:
    assert importlib.import_module(f"benchmarks.{name}").__doc__, "it does not say what it measures"
