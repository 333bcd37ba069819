"""The full names of the gRPC methods that the clients call."""

CREATE = "/earmark.v1.TrainingService/CreateTrainingJob"
GET = "/earmark.v1.TrainingService/GetTrainingJob"
WATCH = "/earmark.v1.TrainingService/WatchTrainingJob"
PUBLISH = "/bench.Bare/Publish"
