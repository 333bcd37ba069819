"""The version of the front end, which is stored with features and with models.

A module of its own: the front names it, and imports none of the libraries that compute features.
"""

# Another one makes the gateways compute every file's features again, and the models unusable: see "A new
# front end" in docs/operations.md.
FRONTEND_VERSION = "4"
