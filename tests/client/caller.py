"""A caller's program, which needs the base install only: `python caller.py ADDRESS FILE` prints JSON."""

import asyncio
import json
import sys
from importlib.metadata import version
from pathlib import Path

import grpc

from earmark.client import connect, download, explain, upload
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import dataset_service_pb2_grpc


async def refused_in_asyncio(address: str) -> str:
    """The reason of an error that grpc.aio raises."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            await dataset_service_pb2_grpc.DatasetServiceStub(channel).GetDataset(
                datasets.GetDatasetRequest(dataset_id="019a9f3e-7b1c-7d2a-9c55-0f6f3f1f2a11")
            )
        except grpc.RpcError as error:
            return explain(error).reason
    return ""


def main(address: str, recording: Path) -> None:
    with connect(address) as client:
        request = datasets.CreateDatasetRequest(name="Calls", artifact_types=[{"name": "echo"}])
        dataset = client.datasets.CreateDataset(request).dataset
        file = upload(client, dataset.id, recording)
        copy = download(client, file.id, recording.with_suffix(".copy"))
        try:
            client.datasets.CreateDataset(datasets.CreateDatasetRequest())
            explained = ""
        except grpc.RpcError as error:
            explained = str(explain(error))
    report = {
        "versions": {name: version(name) for name in ("grpcio", "protobuf")},
        "dataset": dataset.name,
        "downloaded": copy.read_bytes() == recording.read_bytes(),
        "explained": explained,
        "refused_in_asyncio": asyncio.run(refused_in_asyncio(address)),
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
