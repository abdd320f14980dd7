#!/usr/bin/python3
"""Checks that every fault that mxsense promises to survive has a test that injects it, and prints which.

usage: lint_faults.py TESTS_DIR | --self-test
"""
import ast
import pathlib
import sys
import tempfile


def numbers(decorators):
    """Numbers of the decorator @fault(1, 2)."""
    for decorator in decorators:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "fault":
            yield from (argument.value for argument in decorator.args if isinstance(argument, ast.Constant))


def tests_of(body):
    """The methods of a class that a runner calls."""
    return [item for item in body if isinstance(item, ast.FunctionDef) and item.name.startswith("test")]


def read(path):
    """(fault number, test) for every mark in a file, and findings: marks on what no runner calls."""
    marks, findings = [], []
    for item in ast.parse(path.read_text()).body:
        if isinstance(item, ast.FunctionDef) and list(numbers(item.decorator_list)):
            findings.append(f"{path.name}:{item.lineno}: {item.name} is marked and no method of a test case")
        if not isinstance(item, ast.ClassDef):
            continue
        whole = list(numbers(item.decorator_list))
        inherits = [base for base in item.bases if not (isinstance(base, ast.Name) and base.id == "Case")]
        if whole and not inherits and not tests_of(item.body):
            findings.append(f"{path.name}:{item.lineno}: class {item.name} is marked and has no test")
        marks += [(number, f"{path.stem}.{item.name}") for number in whole]
        for method in item.body:
            own = list(numbers(method.decorator_list)) if isinstance(method, ast.FunctionDef) else []
            if own and not method.name.startswith("test"):
                findings.append(f"{path.name}:{method.lineno}: {item.name}.{method.name} is marked and no runner calls it")
            marks += [(number, f"{path.stem}.{item.name}.{method.name}") for number in own if method.name.startswith("test")]
    return marks, findings


def registered(tests):
    """Names of the files that ctest runs."""
    text = (tests / "CMakeLists.txt").read_text()
    return {path for path in (tests / "system").glob("test_*.py") if f"system/{path.name}" in text}


def promised(tests):
    """{number: text} of faults.py."""
    for item in ast.parse((tests / "system" / "faults.py").read_text()).body:
        if isinstance(item, ast.Assign) and item.targets[0].id == "FAULTS":
            return ast.literal_eval(item.value)
    raise SystemExit("faults.py has no FAULTS")


def check(tests):
    """The table as {number: tests}, and findings."""
    faults = promised(tests)
    table = {number: [] for number in faults}
    findings = []
    run = registered(tests)
    for path in sorted((tests / "system").glob("test_*.py")):
        marks, found = read(path)
        findings += found
        if path not in run:
            findings.append(f"{path.name}: no test of CMakeLists.txt runs it")
            continue
        for number, test in marks:
            if number in table:
                table[number].append(test)
            else:
                findings.append(f"{path.name}: {test} is marked with the fault {number}, and there is none")
    findings += [f"fault {number} has no test: {faults[number]}" for number, found in table.items() if not found]
    return table, findings


def self_test():
    """Each kind of finding is found, and nothing else."""
    good = "@fault(1)\nclass A(Case):\n  def test_a(self): pass\nclass B(Case):\n  @fault(2, 1)\n  def test_b(self): pass\n"
    cases = ((good, []), (good.replace("fault(2, 1)", "fault(1)"), ["fault 2 has no test"]), (good.replace("test_b", "b"), ["no runner", "fault 2"]),
             (good.replace("test_a", "a"), ["has no test"]), (good.replace("2, 1", "2, 3"), ["there is none"]),
             (good + "@fault(1)\ndef f(): pass\n", ["no method"]))
    for text, wanted in cases:
        with tempfile.TemporaryDirectory() as folder:
            tests = pathlib.Path(folder)
            (tests / "system").mkdir()
            (tests / "system" / "faults.py").write_text('FAULTS = {1: "one", 2: "two"}\n')
            (tests / "CMakeLists.txt").write_text("system/test_a.py\n")
            (tests / "system" / "test_a.py").write_text(text)
            _, findings = check(tests)
            if len(findings) != len(wanted) or not all(word in line for word, line in zip(wanted, findings)):
                raise SystemExit(f"self-test: {findings} instead of {wanted} for\n{text}")
            (tests / "system" / "test_b.py").write_text(good)
            if not any("no test of CMakeLists" in line for line in check(tests)[1]):
                raise SystemExit("self-test: a file that nobody runs is not found")
    print("self-test passed")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    table, findings = check(pathlib.Path(sys.argv[1]))
    for number, tests in table.items():
        print(f"{number:3}  {', '.join(tests) or '-'}")
    for line in findings:
        print(f"lint_faults: {line}", file=sys.stderr)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
