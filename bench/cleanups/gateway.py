"""A gateway whose clean-ups follow each other in fast motion.

    python -m bench.cleanups.gateway

It is the real one; only the pause between two clean-ups is shorter than ten minutes.
"""

from bench.cleanups.clock import fast
from earmark.gateway.__main__ import main
from earmark.gateway.dispatcher import dispatcher

if __name__ == "__main__":
    dispatcher.CLEAN_UP_SECONDS = fast(dispatcher.CLEAN_UP_SECONDS)
    main()
