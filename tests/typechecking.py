"""The checker that the tests put around the trainer's functions: it sees the shapes that jaxtyping states."""

from beartype import BeartypeConf, beartype

# An int is a float to Python's type system, and to this.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
