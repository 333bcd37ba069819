"""Claims work from the queues, runs it on trainers, and takes over the work of gateways that were lost."""
