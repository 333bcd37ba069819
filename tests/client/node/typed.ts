// A client with the types and stubs that protoc-gen-es generates: node typed.js ADDRESS TRAINING_JOB_ID. Prints a
// report as JSON, then the revision of each event.
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';

import { DatasetService } from './gen/earmark/v1/dataset_service_pb.js';
import { type TrainingEvent, TrainingJobStatus, TrainingService } from './gen/earmark/v1/training_service_pb.js';
import { BadRequestSchema, ErrorInfoSchema } from './gen/google/rpc/error_details_pb.js';

const [address, trainingJobId] = process.argv.slice(2);
const transport = createGrpcTransport({ baseUrl: `http://${address}`, defaultTimeoutMs: 10_000 });
const datasets = createClient(DatasetService, transport);
const training = createClient(TrainingService, transport);

const { dataset } = await datasets.createDataset({ name: 'Calls', artifactTypes: [{ name: 'echo' }] });

/** What is wrong with the request, or what else the error says. */
function explain(error: ConnectError): string {
  const [info] = error.findDetails(ErrorInfoSchema);
  const fields = error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations);
  const lines = fields.map(({ field, description }) => `${field}: ${description}`);
  return [`${Code[error.code]} (${info?.reason})`, ...lines].join('\n');
}

const FINAL = [TrainingJobStatus.COMPLETED, TrainingJobStatus.FAILED, TrainingJobStatus.CANCELLED];

/** Yields a job's events up to its last one. Opens a stream that broke again, after the last revision received. */
async function* watchJob(trainingJobId: string, afterRevision = 0n): AsyncGenerator<TrainingEvent> {
  for (;;) {
    try {
      const request = { trainingJobId, afterRevision };
      for await (const { content } of training.watchTrainingJob(request, { timeoutMs: 0 })) {
        if (content.case !== 'event') continue; // a heartbeat
        afterRevision = content.value.revision;
        yield content.value;
        const { kind } = content.value;
        if (kind.case === 'statusChanged' && FINAL.includes(kind.value.to)) return;
      }
    } catch (error) {
      if (ConnectError.from(error).code !== Code.Unavailable) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

let refused = '';
try {
  await datasets.createDataset({ name: '' });
} catch (error) {
  refused = explain(ConnectError.from(error));
}
console.log(JSON.stringify({ dataset: dataset?.name, refused }));
for await (const event of watchJob(trainingJobId)) console.log(String(event.revision));
