//! Asks IAM's policy simulation whether the function's role may make each call of the function.
//!
//! It knows the role's own policies, its permissions boundary, and those of the organization that name no
//! resource; not the policies of buckets, queues and keys (IAM API Reference, "SimulatePrincipalPolicy").

use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, PolicyEvaluationDecisionType};

use super::looking::Looking;
use crate::check::facts::{Bucket, Denied, Distributions, Function, Queue, Stack, Whereabouts};
use crate::check::finding::Subject;

/// Of so many buckets, and of so many distributions, the permissions are simulated.
const MOST: usize = 20;

/// The calls that the role may not make. `None` if that could not be asked.
pub async fn denied(
    looking: &Looking<'_>,
    function: Option<&Function>,
    queues: &[Queue],
    stack: &Stack,
    buckets: &[Bucket],
    distributions: Option<&Distributions>,
) -> Option<Vec<Denied>> {
    let function = function?;
    let mut calls = of_stack(function, queues, stack);
    calls.extend(of_buckets(function, buckets));
    calls.extend(of_distributions(looking, function, distributions));
    let client = aws_sdk_iam::Client::new(looking.sdk());
    let mut all = Vec::new();
    for (resource, actions) in calls {
        let account = ContextEntry::builder()
            .context_key_name("aws:ResourceAccount")
            .context_key_type(ContextKeyTypeEnum::String)
            .context_key_values(&looking.account.number)
            .build();
        let call = client.simulate_principal_policy();
        let call = call
            .policy_source_arn(&function.role)
            .context_entries(account);
        let call = call.set_action_names(Some(actions.iter().map(ToString::to_string).collect()));
        let answer = call.resource_arns(&resource).send().await;
        let answer = looking.keep(
            &Subject::Role,
            "what it may do",
            "IAM SimulatePrincipalPolicy",
            answer,
        )?;
        for result in answer.evaluation_results.unwrap_or_default() {
            if result.eval_decision == PolicyEvaluationDecisionType::Allowed {
                continue;
            }
            all.push(Denied {
                action: result.eval_action_name,
                resource: resource.clone(),
                is_explicit: result.eval_decision == PolicyEvaluationDecisionType::ExplicitDeny,
            });
        }
    }
    all.sort();
    Some(all)
}

/// Resources, each with the actions on it.
type Calls = Vec<(String, Vec<&'static str>)>;

fn partition(function: &Function) -> &str {
    function.arn.split(':').nth(1).unwrap_or("aws")
}

fn of_stack(function: &Function, queues: &[Queue], stack: &Stack) -> Calls {
    let partition = partition(function);
    let errors = format!("arn:{partition}:s3:::{}", stack.output("ErrorBucketName"));
    let mut calls: Calls = vec![
        (errors.clone(), vec!["s3:ListBucket"]),
        (format!("{errors}/state/mode.json"), vec!["s3:GetObject"]),
        (
            format!("{errors}/invalidation_error/x.txt"),
            vec!["s3:PutObject"],
        ),
        (format!("{errors}/fences/x"), vec!["s3:PutObject"]),
        (
            format!("{errors}/state/rations.json"),
            vec!["s3:GetObject", "s3:PutObject"],
        ),
        (
            format!("{errors}/state/incidents/x.json"),
            vec!["s3:GetObject", "s3:PutObject"],
        ),
        (
            format!("{errors}/state/ledger/x.json"),
            vec!["s3:GetObject", "s3:PutObject"],
        ),
        (
            stack.output("AlertTopicArn").to_owned(),
            vec!["sns:Publish"],
        ),
        (
            "*".to_owned(),
            vec![
                "cloudfront:ListDistributions",
                "cloudfront:ListDistributionTenants",
                "cloudfront:ListCachePolicies",
            ],
        ),
    ];
    for queue in queues {
        let Some(arn) = queue.attributes.get("QueueArn") else {
            continue;
        };
        let actions = match queue.output {
            "BufferQueueUrl" => vec!["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage"],
            "TickQueueUrl" | "SubmitQueueUrl" => vec![
                "sqs:SendMessage",
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:GetQueueAttributes",
            ],
            "FailedEventsQueueUrl" => vec!["sqs:SendMessage"],
            "IntakeQueueUrl" if stack.uses_sqs() => vec![
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
            ],
            _ => continue,
        };
        calls.push((arn.clone(), actions));
    }
    calls
}

fn of_buckets(function: &Function, buckets: &[Bucket]) -> Calls {
    let partition = partition(function);
    let config = function.config.as_ref().ok();
    let looks = config.is_some_and(|it| it.look_before_paying);
    let here = buckets
        .iter()
        .filter(|it| it.whereabouts == Whereabouts::Here);
    let mut calls = Calls::new();
    for bucket in here.take(MOST) {
        let arn = format!("arn:{partition}:s3:::{}", bucket.name);
        let mut actions = vec!["s3:GetBucketTagging"];
        if looks {
            actions.extend([
                "s3:ListBucket",
                "s3:ListBucketVersions",
                "s3:GetBucketVersioning",
                "s3:GetBucketOwnershipControls",
            ]);
        }
        let mut compared = config.iter().flat_map(|it| &it.compare_buckets);
        if compared.any(|it| it.as_str() == bucket.name) {
            let actions = vec!["s3:GetObjectVersion", "s3:GetObjectVersionTagging"];
            calls.push((format!("{arn}/x"), actions));
        }
        calls.push((arn, actions));
    }
    calls
}

fn of_distributions(
    looking: &Looking<'_>,
    function: &Function,
    distributions: Option<&Distributions>,
) -> Calls {
    let config = function.config.as_ref().ok();
    let is_wanted = |id: &str| {
        config.is_none_or(|it| {
            let ids = &it.distribution_ids;
            ids.is_empty() || ids.iter().any(|it| it.as_str() == id)
        })
    };
    let (partition, account) = (partition(function), &looking.account.number);
    let serving = distributions.iter().flat_map(|it| &it.serving);
    let serving = serving.filter(|it| it.enabled && is_wanted(it.id.as_str()));
    let mut calls = Calls::new();
    for distribution in serving.take(MOST) {
        let arn = format!(
            "arn:{partition}:cloudfront::{account}:distribution/{}",
            distribution.id
        );
        let mut actions = vec!["cloudfront:GetDistributionConfig"];
        if distribution.targets.iter().any(|it| it.tenant.is_none()) {
            actions.extend([
                "cloudfront:CreateInvalidation",
                "cloudfront:ListInvalidations",
                "cloudfront:GetInvalidation",
            ]);
        }
        calls.push((arn, actions));
        let tenants = distribution
            .targets
            .iter()
            .filter_map(|it| it.tenant.as_ref());
        for tenant in tenants.take(1) {
            let arn = format!("arn:{partition}:cloudfront::{account}:distribution-tenant/{tenant}");
            let action = "cloudfront:CreateInvalidationForDistributionTenant";
            calls.push((arn, vec![action]));
        }
    }
    calls
}
