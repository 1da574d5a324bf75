"""A preprocessor of mdBook: links to files outside the book lead to the repository.

Pages link to each other and to files of the repository by relative paths, as the repository's own
site shows them. A chapter may also include a page of another folder.
"""

import json
import posixpath
import re
import sys

REPOSITORY = "https://github.com/uner-rs/uner/blob/main/"
# Pages that chapters include, by chapter: the folder that their links start from.
INCLUDED = {
    "introduction.md": ".",
    "book/results.md": "recipes",
    "book/speed.md": "benches",
    "book/architecture.md": ".",
}
CHAPTER_OF = {
    "README.md": "introduction.md",
    "recipes/RESULTS.md": "book/results.md",
    "benches/README.md": "book/speed.md",
    "ARCHITECTURE.md": "book/architecture.md",
}
LINK = re.compile(r"(\]\(|^\[[^\]]+\]: )([^)\s#]+)", re.MULTILINE)


def rewritten(link, chapter):
    """The link of a chapter as it is in the book."""
    if "://" in link or link.startswith("mailto:"):
        return link
    folder = INCLUDED.get(chapter, posixpath.join("docs", posixpath.dirname(chapter)))
    path = posixpath.normpath(posixpath.join(folder, link))
    if path in CHAPTER_OF:
        target = CHAPTER_OF[path]
    elif path.startswith("docs/"):
        target = path.removeprefix("docs/")
    else:
        return REPOSITORY + path
    return posixpath.relpath(target, posixpath.dirname(chapter) or ".")


def rewrite(part):
    """Rewrites the links of every chapter in a part of the book."""
    if isinstance(part, list):
        for item in part:
            rewrite(item)
    elif isinstance(part, dict):
        chapter = part.get("path")
        if isinstance(part.get("content"), str) and chapter:
            link = lambda found: found[1] + rewritten(found[2], chapter)
            part["content"] = LINK.sub(link, part["content"])
        for item in part.values():
            if isinstance(item, (dict, list)):
                rewrite(item)


if __name__ == "__main__":
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0)
    _, book = json.load(sys.stdin)
    rewrite(book)
    json.dump(book, sys.stdout)
