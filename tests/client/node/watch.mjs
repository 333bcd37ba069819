// Follows a job: node watch.mjs ADDRESS PROTOS TRAINING_JOB_ID. Prints the revision of each event.
import { connect, watchJob } from './earmark.mjs';

const [address, protos, trainingJobId] = process.argv.slice(2);
for await (const { revision } of watchJob(connect(address, protos), trainingJobId)) console.log(String(revision));
