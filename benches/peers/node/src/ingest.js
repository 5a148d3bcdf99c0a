// Buffers the changes an S3 event tells of: a message a change, and a tick a window.

import { GetBucketTaggingCommand, S3Client } from "@aws-sdk/client-s3";
import { SendMessageBatchCommand, SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { run } from "./runtime.js";

const { BUFFER_QUEUE_URL, TICK_QUEUE_URL, DEBOUNCE_SECONDS } = process.env;
const WINDOW_MS = (Number(DEBOUNCE_SECONDS) - 2) * 1000;
const TAGS_KEPT_MS = 60_000;

const s3 = new S3Client({ forcePathStyle: true });
const sqs = new SQSClient({});
const knownRules = new Map();
let sentWindow;

async function handler(event) {
  const kept = [];
  for (const record of event.Records) {
    const change = toChange(record);
    if (change && (change.deleted || !(await isExcepted(change)))) kept.push(change);
  }
  for (let start = 0; start < kept.length; start += 10) await buffer(kept.slice(start, start + 10));
  if (kept.length > 0) await tick();
  return { batchItemFailures: [] };
}

function toChange({ eventName, eventTime, s3 }) {
  const deleted = eventName.startsWith("ObjectRemoved:") || eventName.startsWith("LifecycleExpiration:");
  if (!deleted && !eventName.startsWith("ObjectCreated:")) return undefined;
  const key = decodeURIComponent(s3.object.key.replaceAll("+", " "));
  return { bucket: s3.bucket.name, key, deleted, time: eventTime };
}

async function isExcepted({ bucket, key }) {
  let known = knownRules.get(bucket);
  if (!known || Date.now() - known.since > TAGS_KEPT_MS) {
    known = { rules: await readRules(bucket), since: Date.now() };
    knownRules.set(bucket, known);
  }
  return known.rules.some((rule) => key === rule || key.startsWith(`${rule}/`));
}

async function readRules(bucket) {
  try {
    const { TagSet } = await s3.send(new GetBucketTaggingCommand({ Bucket: bucket }));
    return TagSet.filter(({ Key }) => Key.startsWith("exceptionPaths"))
      .flatMap(({ Value }) => Value.split(/[,:\s]+/))
      .map((path) => path.replace(/^\/+|\/+$/g, ""))
      .filter((path) => path !== "");
  } catch (error) {
    if (error.name === "NoSuchTagSet") return [];
    throw error;
  }
}

async function buffer(changes) {
  const Entries = changes.map((change, n) => ({ Id: String(n), MessageBody: JSON.stringify(change) }));
  const { Failed } = await sqs.send(new SendMessageBatchCommand({ QueueUrl: BUFFER_QUEUE_URL, Entries }));
  if (Failed?.length > 0) throw new Error(`not buffered: ${JSON.stringify(Failed)}`);
}

async function tick() {
  const window = Math.floor(Date.now() / WINDOW_MS);
  if (window === sentWindow) return;
  const id = `window-${window}`;
  await sqs.send(
    new SendMessageCommand({
      QueueUrl: TICK_QUEUE_URL,
      MessageGroupId: "flush",
      MessageDeduplicationId: id,
      MessageBody: id,
    }),
  );
  sentWindow = window;
}

run(handler);
