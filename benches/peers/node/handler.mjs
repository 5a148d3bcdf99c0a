// The function's first job in JavaScript, as its authors would write it: SDK v3, clients at module level.

import { GetBucketTaggingCommand, S3Client } from "@aws-sdk/client-s3";
import { SendMessageBatchCommand, SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

const BUFFER_QUEUE = process.env.BUFFER_QUEUE_URL;
const TICK_QUEUE = process.env.TICK_QUEUE_URL;
const MESSAGE_BYTES = 60_000;
const CACHE_MILLISECONDS = 60_000;

const s3 = new S3Client({ forcePathStyle: Boolean(process.env.AWS_ENDPOINT_URL) });
const sqs = new SQSClient({});
const tags = new Map();
const sentWindows = new Set();

// The prefixes that the tags of a bucket exempt.
async function exceptionPaths(bucket) {
  const known = tags.get(bucket);
  if (known && Date.now() - known.since < CACHE_MILLISECONDS) return known.paths;
  let tagSet = [];
  try {
    tagSet = (await s3.send(new GetBucketTaggingCommand({ Bucket: bucket }))).TagSet ?? [];
  } catch (error) {
    if (error.name !== "NoSuchTagSet") throw error;
  }
  const paths = tagSet
    .filter(({ Key }) => Key.startsWith("exceptionPaths"))
    .flatMap(({ Value }) => Value.split(/[\s,:]+/))
    .map((path) => path.replace(/^\/+|\/+$/g, ""))
    .filter(Boolean);
  tags.set(bucket, { since: Date.now(), paths });
  return paths;
}

// What changed, without what is exempt.
async function changes(records) {
  const kept = [];
  for (const { eventName, s3: { bucket, object } } of records) {
    const key = decodeURIComponent(object.key.replaceAll("+", " "));
    const deleted = !eventName.startsWith("ObjectCreated");
    const paths = deleted ? [] : await exceptionPaths(bucket.name);
    if (!paths.some((path) => `${key}/`.startsWith(`${path}/`))) {
      kept.push({ bucket: bucket.name, key: encodeURI(key), kind: deleted ? "deleted" : "created" });
    }
  }
  return kept;
}

export async function handler(event) {
  const bodies = [[]];
  let size = 0;
  for (const change of await changes(event.Records)) {
    size += JSON.stringify(change).length;
    if (size > MESSAGE_BYTES) {
      bodies.push([]);
      size = 0;
    }
    bodies.at(-1).push(change);
  }
  const entries = bodies
    .filter((body) => body.length)
    .map((body, n) => ({ Id: String(n), MessageBody: JSON.stringify(body) }));
  for (let start = 0; start < entries.length; start += 10) {
    const batch = { QueueUrl: BUFFER_QUEUE, Entries: entries.slice(start, start + 10) };
    const { Failed } = await sqs.send(new SendMessageBatchCommand(batch));
    if (Failed?.length) throw new Error(`not buffered: ${JSON.stringify(Failed)}`);
  }
  const window = Math.floor(Date.now() / 8_000);
  if (entries.length && !sentWindows.has(window)) {
    const id = `window-${window}`;
    const tick = { QueueUrl: TICK_QUEUE, MessageBody: id, MessageGroupId: "flush", MessageDeduplicationId: id };
    await sqs.send(new SendMessageCommand(tick));
    sentWindows.add(window);
  }
  return { batchItemFailures: [] };
}
