"""Channels to a trainer whose calls carry a grant for every object, as a gateway's carry one for some."""

from earmark.grants import Signer

PREFIXES = ("default/audio", "default/jobs", "default/recordings")


class Granted:
    """A channel, of grpc or of grpc.aio, that adds a grant to each call without metadata."""

    def __init__(self, channel, signer, reads, writes) -> None:
        self._channel, self._signer = channel, signer
        self._objects = {"reads": reads, "writes": writes}

    def __enter__(self):
        self._channel.__enter__()
        return self

    def __exit__(self, *error):
        return self._channel.__exit__(*error)

    def __getattr__(self, kind):
        open_call = getattr(self._channel, kind)
        if not kind.startswith(("unary_", "stream_")):
            return open_call

        def opened(path, request_serializer=None, response_deserializer=None, **others):
            call = open_call(path, request_serializer, response_deserializer, **others)

            def signed(request, **arguments):
                data = None
                if kind.startswith("unary_"):
                    data = request_serializer(request) if request_serializer else request
                metadata = self._signer.metadata(path.rpartition("/")[2], data, **self._objects)
                return call(request, **{"metadata": metadata, **arguments})

            return signed

        return opened


def granted(channel, secret: bytes, reads=PREFIXES, writes=PREFIXES) -> Granted:
    """The channel of a gateway with this secret."""
    return Granted(channel, Signer(secret), reads, writes)
