#!/usr/bin/env python3
"""usage: symbols_declared.py COMPILER LIBHEFT.SO INCLUDE_FOLDER...

Fails when a public header declares a function that the library does not export, or the library exports one that no public
header declares. The declarations are read by the compiler:

- Classes and member functions: the debugging information of a file that includes every header lists each with its mangled
  name. Functions that the headers define are emitted by -fkeep-inline-functions and so are in the object file.
- Free and friend functions have no such entries. They get a body in a copy of the headers: the library must export the
  functions that the object file of the copy defines and that of the originals does not.

Needs g++: another compiler is skipped (status 77).
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

FLAGS = ["-std=c++20", "-O0", "-w", "-fkeep-inline-functions"]
MEMBERS = ["-g", "-fno-eliminate-unused-debug-types", "-femit-class-debug-always"]
SCOPES = ("DW_TAG_namespace", "DW_TAG_class_type", "DW_TAG_structure_type")
NAME = re.compile(r"DW_AT_(\w+)\s*:\s*(?:\(indirect string, offset: 0x[0-9a-f]+\): )?(.*)")
# Not a function of the library: templates, aliases, assertions, variables, classes.
OTHER = re.compile(r"^\s*(template|using|typedef|static_assert|inline|constexpr|consteval|class|struct|enum|extern|namespace|union|friend\s+(class|struct))\b")


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def compiled(compiler, include, folder, name, *flags):
    source, target = folder / f"{name}.cpp", folder / f"{name}.o"
    source.write_text('#include "heft/heft.hpp"\n')
    run(*compiler, *FLAGS, *flags, "-I", str(include), "-c", str(source), "-o", str(target))
    return target


def defined(objects):
    return {line.split()[-1] for line in run("nm", "--defined-only", str(objects)).splitlines() if line.strip()}


def entries(target):
    """Yields (depth, tag, attributes) of each entry of the debugging information."""
    head = re.compile(r"<(\w+)><\w+>: Abbrev Number: \d+ \((\w+)\)")
    entry = None
    for line in run("readelf", "--debug-dump=info", str(target)).splitlines():
        if found := head.search(line):
            if entry:
                yield entry
            entry = (int(found.group(1)), found.group(2), {})
        elif entry and (found := NAME.search(line)):
            entry[2][found.group(1)] = found.group(2).strip()
    if entry:
        yield entry


def declarations(target):
    """Returns the declarations in namespace heft: mangled names of member functions that are neither defaulted, deleted nor
    virtual (the library's own vtable refers to those, or they are pure); and classes, as tuples of names."""
    names, classes, path = set(), set(), []
    for depth, tag, attributes in entries(target):
        del path[max(depth - 1, 0):]
        path += [""] * (depth - 1 - len(path))
        path.append(attributes.get("name", "") if tag in SCOPES else "")
        if tag in SCOPES[1:] and "declaration" not in attributes and path[0] == "heft":
            classes.add(tuple(path))
        if tag != "DW_TAG_subprogram" or "declaration" not in attributes or "virtuality" in attributes:
            continue
        if not {"deleted", "defaulted", "artificial"} & attributes.keys():
            names.add(attributes.get("linkage_name", ""))
    return {name for name in names if re.match(r"_ZNK?[RO]?4heft", name)}, classes


def scope_of(mangled):
    """Returns the class or namespace of an exported symbol as a tuple of names: ("heft", "Error")."""
    rest = re.sub(r"^_Z(T[ISVT])?N?[KRO]*", "", mangled)
    path = []
    while found := re.match(r"\d+", rest):
        length, rest = int(found.group()), rest[found.end():]
        path.append(rest[:length])
        rest = rest[length:]
    is_class = mangled.startswith("_ZT") or re.match(r"[CD]I?\d|[a-z][a-zA-Z]", rest)
    return tuple(path if is_class else path[:-1])


def undeclared(symbols, classes, functions):
    """Returns exported symbols of classes that no header defines, and free functions that no header declares."""
    return [name for name in symbols if scope_of(name) not in classes and not (scope_of(name) == ("heft",) and name in functions)]


def with_bodies(text, scope):
    """Returns the header with a body for each function that it only declares at `scope`: "namespace", or "class" for friends."""
    plain = re.sub(r"//[^\n]*|/\*.*?\*/", lambda found: " " * len(found.group()), text, flags=re.S)
    plain = re.sub(r'^\s*#[^\n]*', lambda found: " " * len(found.group()), plain, flags=re.M)
    out, kept, start, scopes, parens = [], 0, 0, [], 0
    for at, letter in enumerate(plain):
        parens += (letter in "(") - (letter in ")")
        if parens > 0 or letter not in "{};":
            continue
        statement = plain[start:at]
        if letter == "{":
            is_scope = re.search(r"\bnamespace\b", statement) or re.search(r"\b(class|struct)\b[^()]*$", statement)
            scopes.append("namespace" if re.search(r"\bnamespace\b", statement) else "class" if is_scope else "body")
        elif letter == "}":
            scopes.pop()
        elif (scopes[-1] if scopes else "") == scope and is_declaration(statement, scope):
            out += [text[kept:at], " { __builtin_trap(); }"]
            kept = at + 1
        start = at + 1
    return "".join(out) + text[kept:]


def is_declaration(statement, scope):
    statement = re.sub(r"^\s*((public|private|protected)\s*:|\[\[.*?\]\])", "", statement)
    if "(" not in statement or OTHER.match(statement) or re.search(r"=\s*(delete|default|0)\s*$", statement):
        return False
    before = statement[: statement.index("(")]
    if re.search(r"=(?!=)\s*\S*$", before) and "operator" not in before:
        return False  # a variable and its initializer
    return scope == "namespace" or re.match(r"\s*(\[\[.*?\]\]\s*)?friend\b", statement) is not None


def free_functions(compiler, include, folder, originals):
    names = set()
    for scope in ("namespace", "class"):  # one at a time, because a friend can be declared again outside its class
        copy = folder / scope
        (copy / "heft").mkdir(parents=True)
        for header in (include / "heft").glob("*.hpp"):
            (copy / "heft" / header.name).write_text(with_bodies(header.read_text(), scope))
        names |= defined(compiled(compiler, copy, folder, scope)) - originals
    return names


def exported(library):
    return {line.split()[-1].split("@")[0] for line in run("nm", "-D", "--defined-only", library).splitlines() if line.strip()}


def unified(name):
    """Constructors and destructors have one declaration and several symbols."""
    return re.sub(r"([CD])[1245](?=E|I)", r"\g<1>1", name)


def main():
    compiler, library, includes = sys.argv[1].split(), sys.argv[2], sys.argv[3:]
    if "Free Software Foundation" not in run(*compiler, "--version"):
        print("skipped: reads the debugging information of g++")
        return 77
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        include = folder / "include"
        for each in includes:
            shutil.copytree(each, include, dirs_exist_ok=True)
        target = compiled(compiler, include, folder, "members", *MEMBERS)
        originals = defined(target)
        declared_members, classes = declarations(target)
        declared_free = {name for name in free_functions(compiler, include, folder, originals) if "4heft" in name}
    inline = {unified(name) for name in originals}
    there = {unified(name) for name in exported(library)}
    declared = {unified(name) for name in declared_members | declared_free} - inline
    plain = run("c++filt", *sorted(declared)).splitlines() if declared else []
    strange = undeclared(there, classes, declared_free | inline)
    for text in run("c++filt", *strange).splitlines() if strange else []:
        print(f"exported, but not declared: {text}")
    named = [(mangled, text) for mangled, text in zip(sorted(declared), plain) if "<" not in text.split("(")[0] or "operator<" in text]
    missing = [text for mangled, text in named if mangled not in there]
    for text in missing:
        print(f"declared, but not exported: {text}")
    print(f"{len(named)} declared functions ({len(declared_free)} free ones), {len(missing)} of them missing; {len(there)} exported symbols, "
          f"{len(strange)} of them not declared")
    return 0 if named and declared_free and not missing and not strange else 1


if __name__ == "__main__":
    sys.exit(main())
