// A client of Earmark with @grpc/grpc-js and @grpc/proto-loader.
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const FILES = [
  'earmark/v1/annotation_service.proto',
  'earmark/v1/audio_service.proto',
  'earmark/v1/dataset_service.proto',
  'earmark/v1/detection_service.proto',
  'earmark/v1/model_service.proto',
  'earmark/v1/training_service.proto',
  'google/rpc/error_details.proto',
  'google/rpc/status.proto',
];

/** Loads the .proto files of `protos`, the archive's folder, and returns a client of each service at `address`. */
export function connect(address, protos) {
  const definition = loader.loadSync(FILES, {
    includeDirs: [protos],
    longs: Number, // times in milliseconds and revisions are below 2^53
    enums: String,
    defaults: true,
    oneofs: true,
  });
  const { v1 } = grpc.loadPackageDefinition(definition).earmark;
  const credentials = grpc.credentials.createInsecure();
  const options = { 'grpc.keepalive_time_ms': 30_000, 'grpc.keepalive_timeout_ms': 10_000 };
  const client = (Service) => new Service(address, credentials, options);
  return {
    definition,
    datasets: client(v1.DatasetService),
    audio: client(v1.AudioService),
    annotations: client(v1.AnnotationService),
    training: client(v1.TrainingService),
    models: client(v1.ModelService),
    detection: client(v1.DetectionService),
  };
}

/** Makes a unary call with a deadline: unary(earmark.datasets, 'GetDataset', { datasetId }). */
export function unary(client, method, request, { seconds = 10 } = {}) {
  return new Promise((resolve, reject) => {
    const deadline = new Date(Date.now() + seconds * 1000);
    client[method](request, { deadline }, (error, reply) => (error ? reject(error) : resolve(reply)));
  });
}

/** The google.rpc details of a call's error by name, such as details.ErrorInfo.reason; empty if there are none. */
export function errorDetails({ definition }, error) {
  const [packed] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!packed) return {};
  const { details } = definition['google.rpc.Status'].deserialize(packed);
  const unpacked = {};
  for (const { type_url: url, value } of details) {
    const name = url.split('/').pop(); // type.googleapis.com/google.rpc.ErrorInfo
    if (definition[name]) unpacked[name.split('.').pop()] = definition[name].deserialize(value);
  }
  return unpacked;
}

/** Uploads a file in parts of 1 MiB and returns the audio file, which is still pending. */
export async function upload({ audio }, datasetId, path, filename) {
  const bytes = await readFile(path);
  return new Promise((resolve, reject) => {
    const call = audio.UploadAudio((error, reply) => (error ? reject(error) : resolve(reply.audioFile)));
    call.write({ metadata: { datasetId, filename, sizeBytes: bytes.length } });
    for (let offset = 0; offset < bytes.length; offset += 1 << 20) {
      call.write({ part: { offset, data: bytes.subarray(offset, offset + (1 << 20)) } });
    }
    call.end();
  });
}

const FINAL = ['COMPLETED', 'FAILED', 'CANCELLED'].map((name) => `TRAINING_JOB_STATUS_${name}`);

/** Yields a job's events up to its last one. Opens a stream that broke again, after the last revision received. */
export async function* watchJob({ training }, trainingJobId, afterRevision = 0) {
  let revision = afterRevision;
  for (let pause = 200; ; pause = Math.min(2 * pause, 5000)) {
    const stream = training.WatchTrainingJob({ trainingJobId, afterRevision: revision });
    try {
      for await (const { event } of stream) {
        if (!event) continue; // a heartbeat
        ({ revision } = event);
        pause = 200;
        yield event;
        if (FINAL.includes(event.statusChanged?.to)) return;
      }
    } catch (error) {
      const broken = [grpc.status.UNAVAILABLE, grpc.status.INTERNAL, grpc.status.CANCELLED];
      if (!broken.includes(error.code)) throw error;
    } finally {
      stream.cancel();
    }
    await sleep(pause);
  }
}
