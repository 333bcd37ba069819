"""`python -m demo`: trains a detector from nothing, through Earmark's public API."""

import sys
from pathlib import Path


def main() -> None:
    """Run the demo in demo-output/."""
    # The processes that synthesize speech import this module too, and do not need the walkthrough's imports.
    from demo.walkthrough import run  # noqa: PLC0415

    sys.exit(run(Path("demo-output")))


if __name__ == "__main__":
    main()
