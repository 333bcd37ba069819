"""For every rpc, a request that names what another tenant has. {kind} stands for the id of one of that kind.

A test fails if an rpc has no entry here.
"""

from typing import Any

from tests.gateway.two_tenants import ALIAS

# What lists of the whole tenant may be asked for: they must not have the other's.
LISTS: dict[str, dict[str, Any]] = {
    "DatasetService/ListDatasets": {},
    "DetectionService/ListDetectionJobs": {"model_ids": ["{model}"]},
    "ModelService/ListModels": {"dataset_ids": ["{dataset}"], "show_deleted": True},
    "ModelService/ListModelAliases": {"model_ids": ["{model}"]},
    "TrainingService/ListTrainingJobs": {"dataset_ids": ["{dataset}"]},
    "TrainingService/WatchTrainingJobs": {"from_start": True},
    "AudioService/WatchAudioFiles": {"from_start": True},
}
# What needs no id: nothing of another tenant can be named.
WITHOUT_IDS: dict[str, list[dict[str, Any]]] = {
    "DatasetService/CreateDataset": [{"name": "mine"}],
    "DetectionService/UploadRecording": [
        {"metadata": {"filename": "mine.wav", "size_bytes": 4}},
        {"part": {"data": b"RIFF"}},
    ],
}
# What names something of another tenant, which must be as if it were not there.
NAMED: dict[str, list[dict[str, Any]]] = {
    "AnnotationService/CreateAnnotationSet": [{"dataset_id": "{dataset}"}],
    "AnnotationService/GetAnnotationSet": [{"annotation_set_id": "{annotation_set}"}],
    "AnnotationService/ListAnnotationSets": [{"dataset_id": "{dataset}"}],
    "AnnotationService/PublishAnnotationSet": [{"annotation_set_id": "{annotation_set}"}],
    "AnnotationService/DeleteAnnotationSet": [{"annotation_set_id": "{annotation_set}", "force": True}],
    "AnnotationService/BatchCreateAnnotations": [
        {
            "annotation_set_id": "{annotation_set}",
            "annotations": [
                {"audio_file_id": "{audio_file}", "artifact_type": "glitch", "start_ms": 1, "end_ms": 2}
            ],
        }
    ],
    "AnnotationService/ListAnnotations": [{"annotation_set_id": "{annotation_set}"}],
    "AnnotationService/UpdateAnnotation": [
        {"annotation": {"id": "{annotation}", "end_ms": 1000}, "update_mask": {"paths": ["end_ms"]}}
    ],
    "AnnotationService/DeleteAnnotation": [{"annotation_id": "{annotation}"}],
    "AudioService/UploadAudio": [
        {"metadata": {"dataset_id": "{dataset}", "filename": "x.wav", "size_bytes": 4}},
        {"part": {"data": b"RIFF"}},
    ],
    "AudioService/GetAudioFile": [{"audio_file_id": "{audio_file}"}],
    "AudioService/ListAudioFiles": [{"dataset_id": "{dataset}"}],
    "AudioService/UpdateAudioFile": [
        {"audio_file": {"id": "{audio_file}", "group": "x"}, "update_mask": {"paths": ["group"]}}
    ],
    "AudioService/RetryAudioFile": [{"audio_file_id": "{audio_file}"}],
    "AudioService/DeleteAudioFile": [{"audio_file_id": "{audio_file}", "force": True}],
    "AudioService/DownloadAudio": [{"audio_file_id": "{audio_file}"}],
    "DatasetService/GetDataset": [{"dataset_id": "{dataset}"}],
    "DatasetService/UpdateDataset": [
        {"dataset": {"id": "{dataset}", "name": "x"}, "update_mask": {"paths": ["name"]}}
    ],
    "DatasetService/DeleteDataset": [{"dataset_id": "{dataset}", "force": True}],
    "DetectionService/Detect": [{"start": {"model_id": "{model}"}}, {"data": b"RIFF"}],
    "DetectionService/CreateDetectionJob": [{"model_id": "{model}", "dataset_id": "{dataset}"}],
    "DetectionService/GetDetectionJob": [{"detection_job_id": "{detection_job}"}],
    "DetectionService/CancelDetectionJob": [{"detection_job_id": "{detection_job}"}],
    "DetectionService/DeleteDetectionJob": [{"detection_job_id": "{detection_job}"}],
    "DetectionService/WatchDetectionJob": [{"detection_job_id": "{detection_job}"}],
    "DetectionService/ListDetectionFiles": [{"detection_job_id": "{detection_job}"}],
    "DetectionService/ListDetections": [{"detection_job_id": "{detection_job}"}],
    "DetectionService/DownloadDetections": [{"detection_job_id": "{detection_job}", "format": 1}],
    "DetectionService/GetDetectionJobReport": [{"detection_job_id": "{detection_job}"}],
    "DetectionService/EvaluateDetectionJob": [
        {"detection_job_id": "{detection_job}", "annotation_set_id": "{annotation_set}"}
    ],
    "DetectionService/ListEvaluationErrors": [
        {"detection_job_id": "{detection_job}", "annotation_set_id": "{annotation_set}"}
    ],
    "DetectionService/CompareDetectionJobs": [
        {
            "detection_job_id": "{detection_job}",
            "other_detection_job_id": "{detection_job}",
            "annotation_set_id": "{annotation_set}",
        }
    ],
    "DetectionService/ListFilesToMark": [{"detection_job_id": "{detection_job}"}],
    "ModelService/GetModel": [{"model_id": "{model}"}],
    "ModelService/UpdateModel": [
        {"model": {"id": "{model}", "name": "x"}, "update_mask": {"paths": ["name"]}}
    ],
    "ModelService/DeleteModel": [{"model_id": "{model}", "force": True}],
    "ModelService/UndeleteModel": [{"model_id": "{model}"}],
    "ModelService/GetModelReport": [{"model_id": "{model}"}],
    "ModelService/GetModelUsage": [{"model_id": "{model}"}],
    "ModelService/SetModelAlias": [{"alias": "mine@production", "model_id": "{model}"}],
    "ModelService/DeleteModelAlias": [{"alias": ALIAS}],
    "ModelService/ListModelAliasMoves": [{"alias": ALIAS}],
    "ModelService/ExportModel": [{"model_id": "{model}", "format": 1}],
    "TrainingService/CreateTrainingJob": [
        {
            "dataset_id": "{dataset}",
            "annotation_set_id": "{annotation_set}",
            "config": {"artifact_types": ["glitch"]},
        }
    ],
    "TrainingService/GetTrainingJob": [{"training_job_id": "{training_job}"}],
    "TrainingService/CancelTrainingJob": [{"training_job_id": "{training_job}"}],
    "TrainingService/DeleteTrainingJob": [{"training_job_id": "{training_job}", "force": True}],
    "TrainingService/WatchTrainingJob": [{"training_job_id": "{training_job}"}],
}


def filled(fields: Any, ids: dict[str, str]) -> Any:
    """The fields with these ids in place of the kinds."""
    match fields:
        case dict():
            return {name: filled(value, ids) for name, value in fields.items()}
        case list():
            return [filled(value, ids) for value in fields]
        case str() if fields.startswith("{"):
            return ids[fields[1:-1]]
    return fields
