"""Collect kernel modules and what they depend on, decompressed, with the order to load them in.

TARGET gets one .ko file per module and ORDER: the file names, dependencies first, one a line.
The package has no modules.dep (depmod makes it on installation), so each module's own `depends`
field is read.
"""

import argparse
import lzma
from pathlib import Path


def canonical(name: str) -> str:
    """The kernel's spelling: virtio-rng.ko calls itself virtio_rng."""
    return name.replace("-", "_")


def find_modules(tree: Path) -> dict[str, Path]:
    return {canonical(path.name.split(".ko")[0]): path for path in tree.rglob("*.ko*")}


def find_builtin(tree: Path) -> set[str]:
    lines = (tree / "modules.builtin").read_text().split()
    return {canonical(Path(line).name.removesuffix(".ko")) for line in lines}


def read_module(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".ko":
        return content
    if path.suffix == ".xz":
        return lzma.decompress(content)
    raise SystemExit(f"error: {path.name}: no decompressor for {path.suffix}")


def dependencies(module: bytes) -> list[str]:
    """The `depends=` string of .modinfo, where strings end with NUL."""
    start = module.find(b"\0depends=")
    if start < 0:
        return []
    start += len(b"\0depends=")
    names = module[start : module.index(b"\0", start)].decode("ascii")
    return [canonical(name) for name in names.split(",") if name]


def collect(tree: Path, wanted: list[str]) -> dict[str, bytes]:
    """The modules by name, in load order. What the kernel has built in needs no module."""
    available = find_modules(tree)
    builtin = find_builtin(tree)
    collected: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in collected or name in builtin:
            return
        if name not in available:
            raise SystemExit(f"error: the kernel {tree.name} has no module {name}")
        module = read_module(available[name])
        for dependency in dependencies(module):
            add(dependency)
        collected[name] = module

    for name in wanted:
        add(canonical(name))
    return collected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tree", type=Path, help="usr/lib/modules/VERSION")
    parser.add_argument("target", type=Path)
    parser.add_argument("order", help="a file's name in TARGET")
    parser.add_argument("modules", nargs="+")
    options = parser.parse_args()
    collected = collect(options.tree, options.modules)
    for name, module in collected.items():
        (options.target / f"{name}.ko").write_bytes(module)
    (options.target / options.order).write_text("".join(f"{name}.ko\n" for name in collected))


if __name__ == "__main__":
    main()
