"""The stubs run beside other packages of the same process, and carry the validation rules all the same."""

import subprocess
import sys
from pathlib import Path

import protovalidate

from earmark.v1 import dataset_service_pb2

ROOT = Path(__file__).parents[2]

# Another package has rules of its own under the same names: another version, which lacks most of them.
BESIDE = """
import sys
from google.protobuf import descriptor_pb2, descriptor_pool

other = descriptor_pb2.FileDescriptorProto(name="buf/validate/validate.proto", package="buf.validate")
other.dependency.append("google/protobuf/descriptor.proto")
rules = other.message_type.add(name="FieldRules")
other.extension.add(name="field", number=1159, label=1, type=11, type_name=".buf.validate.FieldRules",
                    extendee=".google.protobuf.FieldOptions")
descriptor_pool.Default().AddSerializedFile(other.SerializeToString())

import earmark.client
from earmark.internal.v1 import trainer_service_pb2
from earmark.v1 import dataset_service_pb2

assert "buf" not in sys.modules
import protovalidate
(violation,) = protovalidate.collect_violations(dataset_service_pb2.CreateDatasetRequest())
assert violation.proto.rule_id == "string.min_len", violation
"""


def test_another_package_may_bring_other_rules() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BESIDE],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_stubs_carry_the_rules() -> None:
    name = dataset_service_pb2.CreateDatasetRequest(name="x" * 1_000)
    (violation,) = protovalidate.collect_violations(name)
    assert violation.proto.rule_id == "string.max_len"
