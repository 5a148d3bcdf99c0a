// Times the mapping alone: `plan.js DISTRIBUTIONS.JSON KEYS.TXT BUCKET`. Prints JSON.

import { readFileSync } from "node:fs";

const CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";
const WARM_UP_KEYS = 200;

function toRegExp(pattern) {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/\*+/g, ".*").replaceAll("?", ".")}$`, "s");
}

// The behaviors of a distribution, the default one last, or none if it does not serve the bucket.
function behaviorsOf(distribution, bucket) {
  const origins = distribution.Origins.Items.filter(({ DomainName }) => DomainName.startsWith(`${bucket}.s3.`));
  const ids = new Set(origins.map(({ Id }) => Id));
  if (ids.size === 0 || !distribution.Enabled) return [];
  const behavior = (settings, pattern) => {
    const serves = ids.has(settings.TargetOriginId);
    const invalidatesCreated = serves && settings.CachePolicyId !== CACHING_DISABLED;
    return { pattern: toRegExp(pattern), invalidatesCreated, invalidatesDeleted: serves };
  };
  const ordered = distribution.CacheBehaviors?.Items ?? [];
  return [
    ...ordered.map((settings) => behavior(settings, `/${settings.PathPattern.replace(/^\//, "")}`)),
    behavior(distribution.DefaultCacheBehavior, "*"),
  ];
}

// encodeURI leaves alone what CloudFront wants to see as it is, but for three.
const OVERLOOKED = { "'": "%27", "+": "%2B", "?": "%3F", "#": "%23" };

function toChange(key) {
  const path = `/${key}`;
  return { path, encoded: encodeURI(path).replace(/['+?#]/g, (found) => OVERLOOKED[found]), deleted: false };
}

function stalePaths(behaviors, changes) {
  const paths = [];
  for (const { path, encoded, deleted } of changes) {
    for (const { pattern, invalidatesCreated, invalidatesDeleted } of behaviors) {
      if (pattern.test(path)) {
        if (deleted ? invalidatesDeleted : invalidatesCreated) paths.push(encoded);
        break;
      }
    }
  }
  return paths;
}

function plan(distributions, keys, bucket) {
  const changes = keys.map(toChange);
  const paths = distributions.map((distribution) => stalePaths(behaviorsOf(distribution, bucket), changes));
  return paths.reduce((sum, { length }) => sum + length, 0);
}

const [distributionsFile, keysFile, bucket] = process.argv.slice(2);
const distributions = JSON.parse(readFileSync(distributionsFile, "utf8")).DistributionList.Items;
const keys = readFileSync(keysFile, "utf8").split("\n").slice(0, -1);
plan(distributions, keys.slice(0, WARM_UP_KEYS), bucket);
const start = process.cpuUsage();
const pairs = plan(distributions, keys, bucket);
const { user, system } = process.cpuUsage(start);
console.log(JSON.stringify({ changes: keys.length, pairs, nanoseconds: [(user + system) * 1000] }));
