"""The methods that are called, by their full names."""

CREATE = "/earmark.v1.TrainingService/CreateTrainingJob"
GET = "/earmark.v1.TrainingService/GetTrainingJob"
WATCH = "/earmark.v1.TrainingService/WatchTrainingJob"
PUBLISH = "/bench.Bare/Publish"
