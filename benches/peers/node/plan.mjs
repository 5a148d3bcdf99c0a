// Planning alone: plan.mjs <distributions.json> <keys.txt> <bucket> <repeats>.

import { readFileSync } from "node:fs";

const CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";

// `*` is any run of characters, `?` is one, a leading `/` is implied.
function compile(pattern) {
  const literal = `/${pattern.replace(/^\//, "")}`.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${literal.replaceAll("*", ".*").replaceAll("?", ".")}$`, "s");
}

const caches = ({ CachePolicyId }) => CachePolicyId !== CACHING_DISABLED;

function behaviors({ CacheBehaviors, DefaultCacheBehavior }) {
  const listed = (CacheBehaviors?.Items ?? []).map((item) => ({ regex: compile(item.PathPattern), caches: caches(item) }));
  return [...listed, { regex: /^/, caches: caches(DefaultCacheBehavior) }];
}

function paths(behaviors, keys) {
  const found = [];
  for (const key of keys) {
    const path = `/${key}`;
    const { caches } = behaviors.find(({ regex }) => regex.test(path));
    if (caches) found.push(encodeURI(path));
  }
  return found;
}

const [distributionsFile, keysFile, bucket, repeats] = process.argv.slice(2);
const listed = JSON.parse(readFileSync(distributionsFile, "utf8")).DistributionList.Items;
const keys = readFileSync(keysFile, "utf8").trimEnd().split("\n");
const serves = ({ Origins }) => Origins.Items.some(({ DomainName }) => DomainName.startsWith(`${bucket}.s3.`));
const compiled = listed.filter(serves).map((distribution) => [distribution.Id, behaviors(distribution)]);
const nanoseconds = [];
let pairs = 0;
for (let n = 0; n < Number(repeats); n += 1) {
  const start = process.cpuUsage();
  const plan = new Map(compiled.map(([id, behaviors]) => [id, paths(behaviors, keys)]));
  const { user, system } = process.cpuUsage(start);
  nanoseconds.push((user + system) * 1_000);
  pairs = [...plan.values()].reduce((sum, paths) => sum + paths.length, 0);
}
console.log(JSON.stringify({ changes: keys.length, distributions: compiled.length, pairs, nanoseconds }));
