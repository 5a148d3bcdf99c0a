//! An account as large as CloudFront's quotas allow, and larger.

use strict_cloudfront::{Behavior, CachePolicy, Distribution, Operation, Origin};

use super::aws::Aws;

/// 500 distributions of a bucket, with 75 behaviors each, and 500 cache policies, all of which are used.
pub fn add_account(aws: &Aws, bucket: &str) {
    let policies = 500;
    for n in 0..policies {
        let policy = CachePolicy::new(&format!("policy-{n}"), 0, 60, 60);
        aws.account().cloudfront.put_cache_policy(policy);
    }
    let distribution = |n: usize| {
        let policy = |behavior| format!("policy-{}", (n * 75 + behavior) % policies);
        let behaviors = (0..74).map(|b| {
            let behavior = Behavior::new(&format!("/folder-{b}/*.html"), "site");
            behavior.policy(&policy(b))
        });
        let default = Behavior::default_for("site").policy(&policy(74));
        let all = Distribution::new(&format!("E{n:03}"), Origin::s3("site", bucket));
        let all = all.default_behavior(default);
        let all = all.default_root_object("home/start.html");
        behaviors.fold(all, Distribution::behavior)
    };
    for n in 0..500 {
        aws.account().cloudfront.put_distribution(distribution(n));
    }
}

/// How often CloudFront's configuration was asked for.
pub fn reads_of_configuration(aws: &Aws) -> Vec<Operation> {
    let is_of_configuration = |operation: &Operation| {
        matches!(
            operation,
            Operation::ListDistributions
                | Operation::ListCachePolicies
                | Operation::GetDistributionConfig
        )
    };
    let account = aws.account();
    let calls = account.cloudfront.calls.iter().map(|call| call.operation);
    calls.filter(is_of_configuration).collect()
}
