"""Takes rules out of a copy of the tree, one after the other; a test of each rule's area must fail.

python3 tests/mutants.py TREE [AREA...]     (make mutants)
"""

import pathlib
import subprocess
import sys
import tomllib

# What compiles is mutated, and what hangs is a test that has noticed.
LIMIT = 1200


def runs_well(tree, *command):
    """Whether a command ends well in the copy, and the end of what it printed."""
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return False, "no end within the limit"
    return done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def compiles(tree):
    build = ["cargo", "build", "--locked", "--quiet", "-p", "postmeter"]
    tests = ["cargo", "test", "--locked", "--quiet", "-p", "tests", "--test", "suite", "--no-run"]
    for command in (build, tests):
        well, said = runs_well(tree, *command)
        if not well:
            return said
    return None


def passes(tree, filters):
    return runs_well(tree, "cargo", "test", "--locked", "--quiet", "-p", "tests", "--test", "suite", "--", *filters)[0]


def main():
    tree, areas = pathlib.Path(sys.argv[1]), sys.argv[2:]
    mutants = tomllib.loads((tree / "tests/mutants.toml").read_text())["mutant"]
    mutants = [mutant for mutant in mutants if not areas or mutant["area"] in areas]
    survived, broken = [], []
    problem = compiles(tree)
    if problem is not None:
        sys.exit(f"without a mutant it does not compile: {problem}")
    if not passes(tree, sorted({name for mutant in mutants for name in mutant["tests"]})):
        sys.exit("these tests fail without a mutant already, so that they would notice nothing: make test")
    for number, mutant in enumerate(mutants, 1):
        file = tree / mutant["file"]
        whole, name = file.read_text(), f"{mutant['area']}: {mutant['rule']}"
        assert whole.count(mutant["find"]) == 1, f"{name}: its text stands {whole.count(mutant['find'])} times in {file}"
        file.write_text(whole.replace(mutant["find"], mutant["replace"]))
        try:
            problem = compiles(tree)
            if problem is not None:
                broken.append(name)
                verdict = f"does not compile: {problem}"
            elif passes(tree, mutant["tests"]):
                survived.append(name)
                verdict = "SURVIVED"
            else:
                verdict = "noticed"
        finally:
            file.write_text(whole)
        print(f"{number}/{len(mutants)} {name}: {verdict}", flush=True)
    print(f"{len(mutants) - len(survived) - len(broken)} noticed, {len(survived)} survived, {len(broken)} do not compile")
    return 1 if survived or broken else 0


sys.exit(main())
