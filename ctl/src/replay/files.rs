//! Error files from the bucket. Whoever may write there can make one, so none is believed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_cloudfront::error::ProvideErrorMetadata;
use invalidator::aws::Clients;
use invalidator::aws::error::service_error;
use invalidator::catalog::Catalog;
use invalidator::clock::Clock;
use invalidator_core::path::InvalidationPath;
use invalidator_core::problems::Problems;
use invalidator_core::replay::{self, MAX_FILE_BYTES, NotReplayable, id_in_key};
use invalidator_core::target::{DistributionId, Target, TargetId, TenantId};
use tokio::time::Instant;

use crate::account::Account;

/// Reading the list of distributions may take so long.
const TIME_TO_READ: Duration = Duration::from_secs(120);

/// An error file that may be replayed.
#[derive(Debug)]
pub struct File {
    pub key: String,
    pub target: Target,
    /// The alias of the target's distribution.
    pub alias: String,
    pub paths: Vec<InvalidationPath<'static>>,
}

/// Reads error files. All that cannot be replayed is told, file by file.
///
/// # Errors
/// If the distributions of the account cannot be listed.
pub async fn read(
    account: &Account,
    bucket: &str,
    mut keys: Vec<String>,
) -> Result<Result<Vec<File>, Problems<String>>> {
    keys.sort();
    keys.dedup();
    let mut catalog = Targets::new(account).await?;
    let (mut files, mut problems) = (Vec::new(), Problems::default());
    for key in keys {
        match read_one(account, bucket, &key, &mut catalog).await {
            Ok(file) => files.push(file),
            Err(error) => problems.push(format!("s3://{bucket}/{key} is not replayed: {error:#}")),
        }
    }
    Ok(match problems.is_empty() {
        true => Ok(files),
        false => Err(problems),
    })
}

async fn read_one(
    account: &Account,
    bucket: &str,
    key: &str,
    targets: &mut Targets<'_>,
) -> Result<File> {
    id_in_key(key)?;
    let object = object(&account.clients, bucket, key).await?;
    let file = replay::read(key, &object)?;
    let (target, alias) = targets.find(&file.id).await?;
    Ok(File {
        key: key.to_owned(),
        target,
        alias,
        paths: file.sets.into_iter().flatten().collect(),
    })
}

async fn object(clients: &Clients, bucket: &str, key: &str) -> Result<Vec<u8>> {
    let object = clients.s3().get_object().bucket(bucket).key(key);
    let object = object.send().await.map_err(|error| service_error(&error))?;
    let length = object.content_length().unwrap_or_default();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_FILE_BYTES {
        return Err(NotReplayable::TooLong(length).into());
    }
    let bytes = object
        .body
        .collect()
        .await
        .context("its content does not arrive")?;
    Ok(bytes.to_vec())
}

/// The targets of the account, each looked up once.
struct Targets<'a> {
    account: &'a Account,
    catalog: Catalog,
    known: BTreeMap<TargetId, Result<(Target, String), String>>,
}

impl<'a> Targets<'a> {
    async fn new(account: &'a Account) -> Result<Self> {
        let ever = Duration::from_secs(24 * 3_600);
        let catalog = Catalog::new(Default::default(), ever, Clock::system());
        let until = Instant::now() + TIME_TO_READ;
        catalog.load(account.clients.cloudfront(), until).await?;
        Ok(Self {
            account,
            catalog,
            known: BTreeMap::new(),
        })
    }

    /// The target of an id, and the alias of its distribution.
    async fn find(&mut self, id: &TargetId) -> Result<(Target, String)> {
        if let Some(known) = self.known.get(id) {
            return known.clone().map_err(|error| anyhow!(error));
        }
        let found = self.look_up(id).await;
        let kept = found.as_ref().map(Clone::clone);
        let kept = kept.map_err(|error| format!("{error:#}"));
        self.known.insert(id.clone(), kept);
        found
    }

    async fn look_up(&self, id: &TargetId) -> Result<(Target, String)> {
        let cloudfront = self.account.clients.cloudfront();
        let target = match id {
            TargetId::Tenant(tenant) => self.tenant(tenant.clone()).await?,
            TargetId::Distribution(distribution) => Target {
                distribution: distribution.clone(),
                tenant: None,
            },
        };
        let until = Instant::now() + TIME_TO_READ;
        if !self.catalog.has(cloudfront, &target, until).await? {
            if self.catalog.is_listed(&target.distribution).await && target.tenant.is_none() {
                bail!("{target} is a multi-tenant distribution, which serves nothing itself");
            }
            bail!(self.is_foreign(&target));
        }
        let alias = self.catalog.alias(&target.distribution).to_string();
        Ok((target, alias))
    }

    /// The distribution of a tenant is asked for.
    async fn tenant(&self, tenant: TenantId) -> Result<Target> {
        let cloudfront = self.account.clients.cloudfront();
        let call = cloudfront
            .get_distribution_tenant()
            .identifier(tenant.as_str());
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("EntityNotFound") => {
                bail!(self.is_foreign(&tenant));
            }
            Err(error) => return Err(service_error(&error).into()),
        };
        let tenant_of = answer.distribution_tenant;
        let distribution = tenant_of.and_then(|it| it.distribution_id);
        let distribution =
            distribution.with_context(|| format!("the tenant {tenant} has no distribution"))?;
        Ok(Target {
            distribution: DistributionId::new(distribution),
            tenant: Some(tenant),
        })
    }

    fn is_foreign(&self, id: impl std::fmt::Display) -> String {
        format!(
            "{id} is not in the account {}; it was deleted, or somebody else wrote this file: then delete the file",
            self.account.number
        )
    }
}
