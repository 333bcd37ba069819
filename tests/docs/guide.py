"""Runs the blocks of a guide as its readers would: Python in one namespace, grpcurl as `buf curl`."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NUMBER = re.compile(r"\d+(\.\d+)?")
LOCAL = "localhost:50051"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the rest of its opening line, its text, and its first line's number."""

    language: str
    options: str
    text: str
    line: int


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a markdown file."""
    content = path.read_text()
    for fence in re.finditer(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", content, re.MULTILINE | re.DOTALL):
        yield Block(fence[1], fence[2], fence[3], content.count("\n", 0, fence.start()) + 2)


@dataclass
class Reader:
    """Runs the blocks of a guide in order.

    `ids` maps each example id of the guide to a function that finds the real id among the names which the
    blocks defined; it raises KeyError if the name is not defined yet.
    """

    path: Path
    address: str
    ids: dict[str, Callable[[dict[str, Any]], str]]
    names: dict[str, Any] = field(default_factory=dict)
    printed: str = ""

    def read(self, block: Block) -> None:
        """Run a block, or compare it with the output of the last Python block."""
        try:
            if block.language == "python":
                self.printed = self._run_python(block)
            elif block.language == "sh":
                self._run_shell(block.text)
            else:
                self._compare(block)
        except Exception as error:
            error.add_note(f"in the block at {self.path}:{block.line}")
            raise

    def _run_python(self, block: Block) -> str:
        code = "\n" * (block.line - 1) + self._with_real(block.text)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, self.path, "exec"), self.names)
        return printed.getvalue()

    def _run_shell(self, text: str) -> None:
        words = shlex.split(self._with_real(text.replace("\\\n", " ")))
        environment = {**os.environ, "EARMARK_ADDRESS": self.address}
        command = [str(BIN / "earmark"), *words[1:]] if words[0] == "earmark" else buf_curl(words)
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"

    def _compare(self, block: Block) -> None:
        """Compare output: `...` stands for any lines, and in a block that `varies` all numbers are equal."""
        shown, printed = block.text.strip(), self._with_examples(self.printed).strip()
        if block.options == "varies":
            shown, printed = NUMBER.sub("0", shown), NUMBER.sub("0", printed)
        pattern = re.escape(UUID.sub("<id>", shown)).replace("\\.\\.\\.\\\n", "(?:.*\n)*")
        assert re.fullmatch(pattern, UUID.sub("<id>", printed)), f"printed:\n{printed}\nshown:\n{shown}"

    def _known(self) -> Iterator[tuple[str, str]]:
        for example, find in self.ids.items():
            with contextlib.suppress(KeyError):
                yield example, find(self.names)

    def _with_real(self, text: str) -> str:
        for example, real in self._known():
            text = text.replace(example, real)
        return text.replace(LOCAL, self.address)

    def _with_examples(self, text: str) -> str:
        for example, real in self._known():
            text = text.replace(real, example)
        return text


def buf_curl(words: list[str]) -> list[str]:
    """Return the `buf curl` command that is equivalent to a grpcurl command."""
    grpcurl, plaintext, *options, address, method = words
    assert (grpcurl, plaintext) == ("grpcurl", "-plaintext")
    if options:
        flag, data = options
        assert flag == "-d"
        json.loads(data)
    url = f"http://{address}/{method}"
    return [str(BIN / "buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge", *options, url]
