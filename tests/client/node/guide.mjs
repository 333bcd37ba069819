// The whole way from a dataset to a model in use: node guide.mjs ADDRESS PROTOS RECORDING. Prints JSON.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';

import { connect, errorDetails, unary, upload, watchJob } from './earmark.mjs';

const [address, protos, recording] = process.argv.slice(2);
const earmark = connect(address, protos);
const report = {};

const { dataset } = await unary(earmark.datasets, 'CreateDataset', {
  name: 'Calls',
  artifactTypes: [{ name: 'dropout' }, { name: 'glitch' }],
});
const { id: audioFileId } = await upload(earmark, dataset.id, recording, 'call.wav');

/** Resolves once no file of the dataset is in processing, with the file. */
async function processed(datasetId, audioFileId) {
  for await (const _ of earmark.audio.WatchAudioFiles({ datasetIds: [datasetId], untilIdle: true }));
  return (await unary(earmark.audio, 'GetAudioFile', { audioFileId })).audioFile;
}

report.processingStatus = (await processed(dataset.id, audioFileId)).processingStatus;

const { annotationSet } = await unary(earmark.annotations, 'CreateAnnotationSet', { datasetId: dataset.id });
const job = {
  datasetId: dataset.id,
  annotationSetId: annotationSet.id,
  config: { artifactTypes: ['glitch'], epochs: 2 },
};
try {
  await unary(earmark.training, 'CreateTrainingJob', job);
} catch (error) {
  const { ErrorInfo, PreconditionFailure } = errorDetails(earmark, error);
  report.refused = [error.code, ErrorInfo.reason, PreconditionFailure.violations.map(({ type }) => type)];
}
try {
  await unary(earmark.datasets, 'CreateDataset', { name: '' });
} catch (error) {
  const { ErrorInfo, BadRequest } = errorDetails(earmark, error);
  report.invalid = [ErrorInfo.reason, BadRequest.fieldViolations.map(({ field }) => field)];
}

await unary(earmark.annotations, 'BatchCreateAnnotations', {
  annotationSetId: annotationSet.id,
  annotations: [{ audioFileId, artifactType: 'glitch', startMs: 1200, endMs: 1350 }],
});
await unary(earmark.annotations, 'PublishAnnotationSet', { annotationSetId: annotationSet.id });

const { trainingJob } = await unary(earmark.training, 'CreateTrainingJob', job);
const revisions = [];
for await (const event of watchJob(earmark, trainingJob.id)) {
  revisions.push(event.revision);
  if (event.epochCompleted) break; // as if this process had ended here
}
for await (const event of watchJob(earmark, trainingJob.id, revisions.at(-1))) {
  revisions.push(event.revision);
}
report.revisions = revisions;

const { trainingJob: finished } = await unary(earmark.training, 'GetTrainingJob', { trainingJobId: trainingJob.id });
const { model } = await unary(earmark.models, 'GetModel', { modelId: finished.modelId });
await unary(earmark.models, 'UpdateModel', {
  model: { id: model.id, isActive: true },
  updateMask: { paths: ['is_active'] },
});
report.thresholds = model.recommendedThresholds;

const call = earmark.detection.Detect();
call.write({ start: { modelId: model.id } });
call.write({ data: await readFile(recording) });
call.end();
report.detections = [];
call.on('data', ({ detection, summary }) => {
  if (detection) report.detections.push([detection.artifactType, detection.startMs, detection.endMs]);
  if (summary) report.durationMs = summary.durationMs;
});
await once(call, 'end');

console.log(JSON.stringify(report));
