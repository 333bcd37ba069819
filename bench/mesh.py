"""Says on paper what several devices make of a training step, by XLA's own analysis of the compiled code.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m bench.mesh [--batch 120] [--count 8]

Prints a line of JSON for each number of devices; bench/README.md describes it. Nothing is timed, because
forced devices share the cores of one CPU.
"""

import json
import re
from dataclasses import replace
from math import prod
from typing import Annotated, Any

import jax
import typer

from earmark.trainer.chunks import chunk_grid, windows_per_step
from earmark.trainer.devices import together
from earmark.trainer.learning.precompile import DEFAULT, step_on_silence
from earmark.trainer.learning.step import run_steps
from earmark.trainer.network import new_architecture

# An instruction of the optimised program: its result, which may be a tuple, and its name.
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%\S+ = (.*?) ([a-z][a-z-]*)\(", re.MULTILINE)
ARRAY = re.compile(r"\b[fsu](\d+)\[([\d,]*)\]")
KERNELS = ("fusion", "call", "dot", "custom-call")


def size_bytes(result: str) -> int:
    """The bytes of all arrays in the type of a result, such as "(f32[128,384]{1,0}, f32[])"."""
    return sum(
        int(bits) // 8 * prod(int(length) for length in lengths.split(",") if length)
        for bits, lengths in ARRAY.findall(result)
    )


def step_body(program: str) -> str:
    """The computation of the program that is a step: the body of the loop with the most instructions."""
    bodies = re.findall(r"body=%([\w.-]+)", program)
    parts = {name: program.split(f"\n%{name} ", 1)[1].split("\n}", 1)[0] for name in bodies}
    return max(parts.values(), key=len)


def figures(batch: int, count: int) -> dict[str, Any]:
    """What one device of `count` does in a step of `batch` chunks of the default job."""
    config = replace(DEFAULT, batch_size=batch)
    arguments = step_on_silence(config, new_architecture(8, "standard"), together(jax.devices()[:count]))
    compiled = run_steps.lower(*arguments).compile()
    analysis: Any = compiled.cost_analysis()
    instructions = INSTRUCTION.findall(step_body(compiled.as_text() or ""))
    reductions = [size_bytes(result) for result, name in instructions if name.startswith("all-reduce")]
    return {
        "devices": count,
        "devices_used": len(arguments[0].step.devices()),
        "batch": batch,
        "windows": windows_per_step(config, chunk_grid(config)),
        "megaflop_per_device": round(analysis["flops"] / 1e6, 1),
        "megabytes_accessed_per_device": round(analysis["bytes accessed"] / 1e6, 1),
        "kernels": sum(name in KERNELS for _, name in instructions),
        "all_reduces": len(reductions),
        "all_reduce_kilobytes": round(sum(reductions) / 1e3, 1),
    }


def main(
    batch: Annotated[int, typer.Option(min=1, help="Chunks in a step.")] = 120,
    count: Annotated[list[int], typer.Option(help="A number of devices; may be repeated.")] = [1, 8],  # noqa: B006 (typer wants a list; it is only read)
) -> None:
    """Analyse the step."""
    for devices in count:
        print(json.dumps(figures(batch, devices)), flush=True)


if __name__ == "__main__":
    typer.run(main)
