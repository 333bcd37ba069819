"""The type checker that the tests wrap around the trainer's functions. It also checks jaxtyping's shapes."""

from beartype import BeartypeConf, beartype

# Python's type system accepts an int as a float, and so does this.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
