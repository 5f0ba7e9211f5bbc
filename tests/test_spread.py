"""How test files are spread over processes."""

from tests.spread import LONG_S, ROOT, WITHOUT_KERNELS, choose, missing

FILES = {
    "tests/benchmarks/test_clearing.py": 11,
    "tests/contracts/test_merkle.py": 50,
    "tests/contracts/test_verify.py": 290,
    "tests/controller/test_cli.py": 68,
    "tests/optimization/test_admm.py": 57,
    "tests/optimization/test_community.py": 60,
}


def order(*, compiles):
    left, taken = dict(FILES), []
    while left:
        taken.append(choose(left, compiles=compiles).removeprefix("tests/"))
        del left[f"tests/{taken[-1]}"]
    return taken


def test_one_process_compiles_kernels_and_then_takes_the_rest():
    assert order(compiles=True) == [
        "optimization/test_admm.py",
        "optimization/test_community.py",
        "controller/test_cli.py",
        "benchmarks/test_clearing.py",
        "contracts/test_verify.py",
        "contracts/test_merkle.py",
    ]


def test_the_others_begin_with_what_needs_none():
    assert order(compiles=False) == [
        "contracts/test_verify.py",
        "contracts/test_merkle.py",
        "optimization/test_admm.py",
        "optimization/test_community.py",
        "controller/test_cli.py",
        "benchmarks/test_clearing.py",
    ]


def test_every_file_and_folder_that_is_named_is_there():
    assert missing() == []
    assert missing(("tests/none.py", next(iter(LONG_S)))) == ["tests/none.py"]
    assert [place for place in WITHOUT_KERNELS if not (ROOT / place).exists()] == []
