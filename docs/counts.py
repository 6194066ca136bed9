"""What the house is held to, counted: `python docs/counts.py [ROOT]` (tests/test_house.py asks it).

Files at a folder's top level, circles of imports, the longest function and file, kernels that
nothing calls, and lines of code, of the tree at ROOT; nothing of it is imported.
"""

from __future__ import annotations

import ast
import sys
import tokenize
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

PARTS = ("kernels", "nnlite", "methods", "bench")
_QUIET = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
          tokenize.ENCODING, tokenize.ENDMARKER)  # fmt: skip


def sources(root: Path, parts: tuple[str, ...] = PARTS) -> dict[Path, ast.Module]:
    """Every Python file of the parts, parsed."""
    found = (path for part in parts for path in sorted((root / part).rglob("*.py")))
    return {path: ast.parse(path.read_text("utf-8")) for path in found}


def top_level(root: Path) -> dict[str, int]:
    """How many Python files lie at the top level of each part."""
    return {part: len(list((root / part).glob("*.py"))) for part in PARTS}


def code_lines(root: Path, parts: tuple[str, ...] = PARTS) -> int:
    """Lines with code on them: no blank ones, no comments, no docstrings."""
    total = 0
    for path, tree in sources(root, parts).items():
        lines = {
            line
            for token in tokenize.tokenize(BytesIO(path.read_bytes()).readline)
            if token.type not in _QUIET
            for line in range(token.start[0], token.end[0] + 1)
        }
        total += len(lines - set(_docstring_lines(tree)))
    return total


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            yield from range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)


def longest_file(root: Path) -> tuple[int, str]:
    """Lines of the longest file, and which it is."""
    return max(
        (len(path.read_text("utf-8").splitlines()), str(path.relative_to(root)))
        for path in sources(root)
    )


def longest_function(root: Path) -> tuple[int, str]:
    """Lines of the longest function, and which it is."""
    return max(
        ((node.end_lineno or 0) - node.lineno + 1, f"{path.relative_to(root)}:{node.name}")
        for path, tree in sources(root).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


# ---- circles -------------------------------------------------------------------------------------


def imports(root: Path) -> dict[Path, set[Path]]:
    """Which files each file imports from, at its top or anywhere in it, for types alone or not."""
    trees = sources(root)
    return {path: set(_targets(path, tree, set(trees))) for path, tree in trees.items()}


def _targets(path: Path, tree: ast.Module, known: set[Path]) -> Iterator[Path]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        for alias in node.names:
            inner = base / alias.name
            for one in (inner.with_suffix(".py"), inner / "__init__.py", base.with_suffix(".py"),
                        base / "__init__.py"):  # fmt: skip
                if one in known:
                    yield one
                    break


def circles(root: Path) -> list[list[str]]:
    """Groups of files that import one another, directly or through others."""
    edges = imports(root)
    reach = {path: _reached(path, edges) for path in edges}
    seen: set[Path] = set()
    found = []
    for path in edges:
        group = {other for other in reach[path] if path in reach[other]}
        if group and path not in seen:
            seen |= group
            found.append(sorted(str(one.relative_to(root)) for one in group | {path}))
    return found


def _reached(start: Path, edges: dict[Path, set[Path]]) -> set[Path]:
    found: set[Path] = set()
    ahead = list(edges[start])
    while ahead:
        path = ahead.pop()
        if path not in found:
            found.add(path)
            ahead += edges[path]
    return found


# ---- kernels -------------------------------------------------------------------------------------


def uncalled_kernels(root: Path) -> list[str]:
    """Kernels that nothing in nnlite, methods and bench calls as `ops.NAME`, kernel peers aside."""
    tree = ast.parse((root / "kernels/reference/__init__.py").read_text("utf-8"))
    kernels = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
        for alias in node.names
    }
    called = {
        node.func.attr
        for path, tree in sources(root, PARTS[1:]).items()
        if path.name != "conv_kernels.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if _name(node.func.value) == "ops"
    }
    return sorted(kernels - called)


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def main(root: Path) -> None:
    """Print the counts."""
    rounds = circles(root)
    idle = uncalled_kernels(root)
    files = ", ".join(f"{part} {count}" for part, count in top_level(root).items())
    print(f"files at the top level: {files}")
    for what, (count, where) in (
        ("lines of the longest function", longest_function(root)),
        ("lines of the longest file", longest_file(root)),
    ):
        print(f"{what}: {count} ({where})")
    print(f"circles of imports: {len(rounds)}")
    for group in rounds:
        print(f"    {len(group)}: {', '.join(group)}")
    print(f"kernels without a caller: {len(idle)}{': ' * bool(idle)}{', '.join(idle)}")
    print(f"lines of code: {code_lines(root):,}, tests {code_lines(root, ('tests',)):,}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve())
