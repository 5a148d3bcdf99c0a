//! Events in, message bodies out; message bodies in, CreateInvalidation out.

use anyhow::Result;
use invalidator::submit::call::create_invalidation;
use invalidator_core::buffered;
use invalidator_core::caller_reference::{CallerReference, Cause, SetId};
use invalidator_core::distributions::listing::{DistributionSummary, managed_policies};
use invalidator_core::distributions::{Details, Distribution};
use invalidator_core::event;
use invalidator_core::plan::{Changes, KeyChanges, MessageIndex, plan};
use serde_json::{Value, json};

use crate::planning::with_rules;
use crate::{BUCKET, changes, cloudfront, timed};

/// Reads an event of S3 with so many records.
pub fn read_event(count: usize, repeats: usize) -> Result<Value> {
    let records = changes(count)?.into_iter().map(|change| {
        json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-11-21T05:43:04.567Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": { "principalId": "AWS:AIDAEXAMPLE" },
            "requestParameters": { "sourceIPAddress": "192.0.2.1" },
            "responseElements": {
                "x-amz-request-id": "D82B88E5F771F645",
                "x-amz-id-2": "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo=",
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "changes",
                "bucket": {
                    "name": BUCKET,
                    "ownerIdentity": { "principalId": "A3I5XTEXAMAI3E" },
                    "arn": "arn:aws:s3:::example-site",
                },
                "object": {
                    "key": change.key,
                    "size": 1_024,
                    "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
        })
    });
    let payload = json!({ "Records": records.collect::<Vec<_>>() }).to_string();
    let (nanoseconds, reading) = timed(repeats, || Ok(event::read(&payload)))?;
    Ok(
        json!({ "changes": reading.changes.len(), "bytes": payload.len(), "nanoseconds": nanoseconds }),
    )
}

pub fn pack(count: usize, repeats: usize) -> Result<Value> {
    let changes = changes(count)?;
    let (nanoseconds, bodies) = timed(repeats, || Ok(buffered::pack(&changes)?))?;
    Ok(json!({ "changes": count, "bodies": bodies.len(), "nanoseconds": nanoseconds }))
}

pub fn unpack(count: usize, repeats: usize) -> Result<Value> {
    let bodies = buffered::pack(&changes(count)?)?;
    let (nanoseconds, unpacked) = timed(repeats, || {
        let mut unpacked = 0;
        for body in &bodies {
            unpacked += changes_of(body)?.len();
        }
        Ok(unpacked)
    })?;
    Ok(json!({ "changes": unpacked, "bodies": bodies.len(), "nanoseconds": nanoseconds }))
}

fn changes_of(body: &str) -> Result<Vec<invalidator_core::event::Change<'_>>> {
    match buffered::unpack(body)? {
        buffered::Buffered::Changes { changes, .. } => Ok(changes),
        buffered::Buffered::Set(_) => anyhow::bail!("a set"),
    }
}

/// Message bodies in, and out of the SDK the bodies of CreateInvalidation, for one distribution.
pub fn body_to_xml(count: usize, repeats: usize) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    // SQS keeps no order.
    let mut bodies = buffered::pack(&changes(count)?)?;
    bodies.reverse();
    let distributions = [distribution()?];
    let (cloudfront, received) = cloudfront::client();
    let (nanoseconds, _) = timed(repeats, || {
        let mut changes = Changes::default();
        for (place, body) in bodies.iter().enumerate() {
            for change in changes_of(body)? {
                changes.add(&change, MessageIndex::new(place))?;
            }
        }
        let keys = KeyChanges::from(changes);
        with_rules(&distributions, |rules| {
            for of_target in plan(&keys, rules).targets() {
                for set in of_target.sets(|_| true) {
                    let target = of_target.target.clone();
                    let id = SetId::new(&target, &set.paths, &["m"]);
                    let paths: Vec<_> = set.paths.iter().collect();
                    let reference = CallerReference::new(&target, &paths, &[&id], Cause::Flush);
                    let call = create_invalidation(&cloudfront, &target, &paths, &reference);
                    runtime.block_on(call);
                }
            }
            Ok(())
        })
    })?;
    let received = received.paths() / repeats;
    Ok(json!({ "changes": count, "paths": received, "nanoseconds": nanoseconds }))
}

fn distribution() -> Result<Distribution> {
    let summary: DistributionSummary = serde_json::from_value(json!({
        "Id": "E1WWWEXAMPLE01",
        "Enabled": true,
        "Origins": { "Items": [
            { "Id": "s3", "DomainName": format!("{BUCKET}.s3.us-east-1.amazonaws.com"), "OriginPath": "" },
        ] },
        "DefaultCacheBehavior": {
            "TargetOriginId": "s3",
            "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
        },
    }))?;
    Ok(Distribution::new(
        &summary,
        Details::default(),
        &managed_policies(),
    ))
}
