"""`python -m demo`: from nothing to a detector, through Earmark's public API."""

import sys
from pathlib import Path


def main() -> None:
    """Run the demo in demo-output/."""
    # The processes that speak import this module too, and need nothing of what the walkthrough needs.
    from demo.walkthrough import tell  # noqa: PLC0415

    sys.exit(tell(Path("demo-output")))


if __name__ == "__main__":
    main()
