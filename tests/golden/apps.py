#!/usr/bin/env python3
"""Parses the example apps.

usage: apps.py ROOT

needs tree-sitter with its grammars of Kotlin and Swift. ROOT is the folder that has `assets`: every Kotlin,
Gradle, Swift and XML file and string catalogue below `assets/android` and `assets/ios` has to parse, and the texts
and ids that the sources name have to be those of the resources. `-` instead parses Swift from standard input.

Exits with 1 on a mistake, and prints where it is.
"""

import json
import pathlib
import re
import sys
from xml.etree import ElementTree

import tree_sitter_kotlin
import tree_sitter_swift
from tree_sitter import Language, Parser

APPS = ("android", "ios")


def grammar(module):
    parser = Parser(Language(module.language()))

    def mistakes(source):
        places, nodes = [], [parser.parse(source).root_node]
        while nodes:
            node = nodes.pop()
            if node.is_error or node.is_missing:
                row, column = node.start_point
                what = f"missing {node.type}" if node.is_missing else "syntax error"
                places.append(f"{row + 1}:{column + 1}: {what}")
            elif node.has_error:
                nodes.extend(node.children)
        return sorted(places)

    return mistakes


def reads(read, error):
    def mistakes(source):
        try:
            read(source)
        except error as problem:
            return [str(problem)]
        return []

    return mistakes


KOTLIN = grammar(tree_sitter_kotlin)
SWIFT = grammar(tree_sitter_swift)
PARSERS = {
    ".kt": KOTLIN,
    ".kts": KOTLIN,
    ".swift": SWIFT,
    ".xml": reads(ElementTree.fromstring, ElementTree.ParseError),
    ".xcstrings": reads(json.loads, ValueError),
}


def syntax(root):
    parsed = dict.fromkeys(PARSERS, 0)
    for path in sorted(path for app in APPS for path in (root / "assets" / app).rglob("*")):
        mistakes = PARSERS.get(path.suffix)
        if mistakes and path.is_file():
            parsed[path.suffix] += 1
            yield from (f"{path}:{mistake}" for mistake in mistakes(path.read_bytes()))
    yield from (f"no {suffix} file" for suffix, count in parsed.items() if not count)


def texts(root):
    """Names of resources and texts that are used but not defined, or the other way round."""
    android = root / "assets/android/app/src/main"
    xml = "".join(path.read_text() for path in android.rglob("*.xml"))
    used = "".join(path.read_text() for path in android.rglob("*.kt")) + xml
    for path in sorted(android.glob("res/values*/strings.xml")):
        names = {string.get("name") for string in ElementTree.parse(path).getroot()}
        if names != set(re.findall(r"(?:R\.string\.|@string/)(\w+)", used)):
            yield f"{path}: its names are not those that the app uses"
    if set(re.findall(r"R\.id\.(\w+)", used)) != set(re.findall(r"@\+id/(\w+)", xml)):
        yield "the ids of the layout are not those that the app uses"

    ios = root / "assets/ios/Sources"
    swift = "".join(path.read_text() for path in ios.glob("*.swift"))
    for key in json.loads((ios / "Localizable.xcstrings").read_text())["strings"]:
        # %@ stands for an interpolation.
        if not re.search('"' + re.escape(key).replace("%@", r"\\\(.*\)") + '"', swift):
            yield f"no Swift file has the text {key!r}"


def main(root):
    if root == "-":
        mistakes = SWIFT(sys.stdin.buffer.read())
    else:
        root = pathlib.Path(root)
        mistakes = list(syntax(root)) or list(texts(root))
    print("\n".join(mistakes) or "all of it parses")
    sys.exit(1 if mistakes else 0)


main(sys.argv[1])
