# SPDX-License-Identifier: MIT
"""The man pages say what the command's help, its output and flashvm.h say. No VM starts.

Both ways: what a page lacks is a gap, and what only a page has is a promise that nobody keeps.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Dict, List, Set

import pytest

ROOT = Path(__file__).parents[2]
MAN = ROOT / "docs/man"
HEADER = (ROOT / "include/flashvm/flashvm.h").read_text()
LINKS = {path for path in MAN.glob("man?/*") if path.read_text().startswith(".so ")}
PAGES = {path.name: path.read_text() for path in MAN.glob("man?/*") if path not in LINKS}
LIBRARY = "".join(text for name, text in sorted(PAGES.items()) if name.endswith(".3"))


def words(mdoc: str) -> str:
    """What a line or a passage of mdoc shows, roughly."""
    text = re.sub(r"^\.\\\".*$", "", mdoc, flags=re.MULTILINE)
    text = re.sub(r"^\.", "", text, flags=re.MULTILINE).replace("Fl Fl ", "--")
    text = re.sub(r"\b(Ns|Vt|Va|Fa|Ar|Cm|Dv|No|Ql|Pa|Dq|Xr|Pq)\b ?", "", text)
    return " ".join(text.replace("Fl ", "-").replace("\\&", "").split())


def section(page: str, title: str) -> str:
    """What stands below a heading, `.Sh TITLE` or `.Ss TITLE`, up to the next one of its level."""
    kind, _, _ = title.partition(" ")
    stop = r"\.Sh " if kind == ".Sh" else r"\.S[hs] "
    found = re.search(rf"^{re.escape(title)}\n(.*?)(?=^{stop}|\Z)", page, re.DOTALL | re.MULTILINE)
    assert found, f"{title} is missing"
    return found[1]


def declaration(text: str) -> str:
    """A C declaration with blanks only where they matter."""
    return re.sub(r"\s*([*,()])\s*", r"\1", " ".join(text.split()))


# ---- the command ----


def help_of(command: str, *name: str) -> str:
    return subprocess.run(
        [command, "help", *name], stdout=subprocess.PIPE, text=True, check=True, timeout=30
    ).stdout


def help_options(text: str) -> Dict[str, str]:
    """Each option, as "-c, --code CODE", with what is said of it."""
    start = re.compile(r"^ {2,6}(-.*?)(?:  +|$)(.*(?:\n {12,}.*)*)", re.MULTILINE)
    return {option: " ".join(says.split()) for option, says in start.findall(text)}


def page_options(page: str) -> Dict[str, str]:
    """Likewise from a page; arguments stand in lower case there."""
    options = {}
    for head, body in re.findall(r"^\.It (Fl .*)\n((?:(?!\.It |\.El).*\n)*)", page, re.MULTILINE):
        plain = re.sub(r"\bOo : Ns Ar (\w+) Oc", r"[:\1]", head)
        plain = re.sub(r"Ar (\w+)|\[:(\w+)\]", lambda found: found[0].upper(), plain)
        plain = words(re.sub(r"\bAR ", "Ar ", plain)).replace(" , ", ", ")
        options[re.sub(r" ?(=|\[:) ?", r"\1", plain)] = words(body)
    return options


@pytest.mark.parametrize("name", ["run", "doctor", "image"])
def test_each_option_stands_in_the_help_and_in_the_page(command: str, name: str) -> None:
    helped = help_options(help_of(command, name))
    explained = page_options(PAGES[f"flashvm-{name}.1"])
    assert set(explained) == set(helped) and "-h, --help" in helped


def test_the_page_of_run_has_each_default(command: str) -> None:
    """What the help has in parentheses: 30, half of the memory, repeatable."""
    helped = help_options(help_of(command, "run"))
    explained = page_options(PAGES["flashvm-run.1"])
    defaults = 0
    for option, says in helped.items():
        for default in re.findall(r"\((.+?)\)", says):
            assert re.search(rf"(^|\W){re.escape(default)}\W", explained[option], re.IGNORECASE), (
                f"{option} is {default!r} by the help, and its page says: {explained[option]}"
            )
            defaults += 1
    assert defaults >= 18


def test_the_page_of_the_command_has_each_command_and_variable(command: str) -> None:
    text, page = help_of(command), PAGES["flashvm.1"]
    listed = re.findall(r"^  ([a-z]+) ", text, re.MULTILINE)
    described = section(page, ".Sh DESCRIPTION")
    assert re.findall(r"^\.It Cm (\w+)", described, re.MULTILINE) == listed and "run" in listed
    variables = re.findall(r"^  (FLASHVM_\w+) ", text, re.MULTILINE)
    assert len(variables) == 4
    environment = section(page, ".Sh ENVIRONMENT")
    assert set(variables) <= set(re.findall(r"\bEv (FLASHVM_\w+)", environment))


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("args", "page"),
    [
        (["doctor", "--json"], "flashvm-doctor.1"),
        (["image", "list", "--json"], "flashvm-image.1"),
        (["run", "--json", "-c", "file out/a x", "--expect", "**"], "flashvm-run.1"),
    ],
    ids=["doctor", "image", "run"],
)
def test_each_key_of_the_json_stands_in_the_page(command: str, args: List[str], page: str) -> None:
    subprocess.run([command, "image", "prepare"], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(
        [command, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60
    )
    printed = json.loads(done.stdout)
    text = section(PAGES[page], ".Sh JSON OUTPUT")
    heads = re.findall(r"^\.It (Va .*)$", text, re.MULTILINE)
    assert set(re.findall(r"Va (\w+)", "\n".join(heads))) == set(printed)
    within: Set[str] = set(printed.get("timings", {}))
    lists = (printed.get(key, []) for key in ("artifacts", "images"))
    reports = [*printed.get("engines", {}).values(), printed.get("containers_storage", {})]
    for entry in [*chain(*lists), *reports]:
        within |= set(entry)
    assert within and within <= set(re.findall(r"\bVa (\w+)", text))


def statuses() -> Dict[str, str]:
    return dict(re.findall(r"^    FLASHVM_(\w+) = (\d+)", HEADER, re.MULTILINE))


def test_each_exit_status_of_flashvm_itself_is_explained() -> None:
    text = section(PAGES["flashvm.1"], ".Sh EXIT STATUS")
    assert re.findall(r"^\.It (\d+)$", text, re.MULTILINE) == sorted(statuses().values())[1:]


# ---- the library ----


def prototypes(page: str) -> Set[str]:
    """The functions of a page's synopsis, as declarations."""
    return {
        declaration(f"{words(result)} {name}({', '.join(re.findall(r'Fa (.*)', arguments))})")
        for result, name, arguments in re.findall(
            r"^\.Ft (.*)\n\.Fo (\w+)\n((?:\.Fa .*\n)*)\.Fc$", page.replace('"', ""), re.MULTILINE
        )
    }


def header_prototypes() -> Set[str]:
    return {
        declaration(text)
        for text in re.findall(r"^FLASHVM_API ([^;]*);", HEADER, re.MULTILINE | re.DOTALL)
    }


def structs() -> Dict[str, Set[str]]:
    """The declarations in each struct of the header."""
    plain = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    return {
        name: {declaration(field) for field in body.split(";") if field.strip()}
        for name, body in re.findall(
            r"^struct (\w+) \{\n(.*?)^\};", plain, re.MULTILINE | re.DOTALL
        )
    }


def test_each_function_stands_in_a_page_as_in_the_header() -> None:
    assert prototypes(LIBRARY) == header_prototypes() and len(header_prototypes()) >= 11


def test_each_function_has_a_page_or_a_link_to_one() -> None:
    for prototype in header_prototypes():
        name = re.findall(r"(\w+)\(", prototype)[0]
        path = MAN / "man3" / f"{name}.3"
        target = path.read_text().split()[1] if path in LINKS else f"man3/{name}.3"
        page = (MAN / target).read_text()
        assert re.search(rf"^\.Nm {name}( ,)?$", section(page, ".Sh NAME"), re.MULTILINE)
        assert prototype in prototypes(page)


@pytest.mark.parametrize("struct", sorted(structs()))
def test_each_field_of_a_struct_stands_in_its_page(struct: str) -> None:
    text = section(LIBRARY, f".Ss struct {struct}")
    heads = re.findall(r"^\.It (Vt .*)$", text, re.MULTILINE)
    assert {declaration(words(head)) for head in heads} == structs()[struct]


def plain(text: str) -> str:
    return " ".join(re.findall(r"[\w/-]+", text))


def test_each_default_in_the_header_stands_in_the_page() -> None:
    options = HEADER[HEADER.index("struct flashvm_run_options {") :].partition("};")[0]
    defaults = re.findall(r"(\w+); +/\*[^*]*\b(0|NULL): ([^;]+?) \*/", options)
    assert len(defaults) >= 15
    items = section(LIBRARY, ".Ss struct flashvm_run_options").partition("\n.El")[0].split("\n.It ")
    for field, unset, default in defaults:
        (item,) = [item for item in items if re.match(rf"Vt .*Va {field}\n", item)]
        (says,) = re.findall(rf"\b{unset} ?: (.*)\.$", words(item))
        assert plain(says) == plain(default), field


def test_each_status_stands_in_the_page_with_its_number() -> None:
    text = section(LIBRARY, ".Ss enum flashvm_status")
    assert dict(re.findall(r"^\.It Dv FLASHVM_(\w+) No = (\d+)$", text, re.M)) == statuses()


def test_each_macro_is_explained() -> None:
    macros = set(re.findall(r"^#define (FLASHVM_\w+_INIT)", HEADER, re.MULTILINE))
    assert len(macros) >= 4
    assert macros <= set(re.findall(r"\bDv (FLASHVM_\w+)", LIBRARY))


def examples(page: str) -> List[str]:
    """The programs of a page."""
    text = section(page, ".Sh EXAMPLES")
    found = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", text, re.MULTILINE | re.DOTALL)
    return [program.replace("\\e", "\\") for program in found]


def compiles(program: str, directory: Path) -> None:
    source = directory / "example.c"
    source.write_text(program)
    compiler = ["cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    library = ["-L", str(ROOT / "build/dev/src"), "-l", "flashvm"]
    subprocess.run(
        [*compiler, "-I", str(ROOT / "include"), source, *library, "-o", directory / "example"],
        check=True,
    )


def test_the_example_of_the_overview_is_a_program(tmp_path: Path) -> None:
    (program,) = examples(PAGES["libflashvm.3"])
    assert "flashvm_run(" in program and max(map(len, program.splitlines())) < 80
    compiles(program, tmp_path)


def test_the_example_of_run_stands_in_a_function(tmp_path: Path) -> None:
    (body,) = examples(PAGES["flashvm_run.3"])
    unused = "(void)options; return 0;"
    compiles(f"#include <flashvm/flashvm.h>\nint main(void) {{ {body} {unused} }}", tmp_path)


# ---- all pages ----


def test_each_reference_to_a_page_of_ours_leads_to_one() -> None:
    ours = {path.name for path in MAN.glob("man?/*")}
    for name, text in PAGES.items():
        for to, number in re.findall(r"^\.Xr (\S*flashvm\S*) (\d)", text, re.MULTILINE):
            assert f"{to}.{number}" in ours, f"{name} refers to {to}({number})"


def test_the_pages_are_installed() -> None:
    """With the library all of them; with the package those of the command, where man looks."""
    meson = str(Path(sys.executable).with_name("meson"))
    plan = subprocess.run(
        [meson, "introspect", "--installed", str(ROOT / "build/dev")],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    installed = {Path(target) for target in json.loads(plan).values()}
    pages = {path.relative_to(MAN) for path in MAN.glob("man?/*")}
    assert {Path(*path.parts[-2:]) for path in installed if "man" in path.parts} == pages
    for page in MAN.glob("man1/*"):
        copy = Path(sys.prefix, "share/man/man1", page.name)
        assert copy.read_text() == page.read_text()
