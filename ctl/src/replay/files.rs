//! Error files from the bucket. Whoever may write there can make one, so none is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_cloudfront::error::ProvideErrorMetadata;
use futures_util::stream::{self, StreamExt};
use invalidator::aws::Clients;
use invalidator::aws::error::service_error;
use invalidator::catalog::Catalog;
use invalidator::clock::Clock;
use invalidator_core::error_file::{FOLDER, Section};
use invalidator_core::path::InvalidationPath;
use invalidator_core::problems::Problems;
use invalidator_core::replay::{self, MAX_FILE_BYTES, NotReplayable, id_in_key};
use invalidator_core::service_error::ServiceError;
use invalidator_core::target::{DistributionId, Target, TargetId, TenantId};
use tokio::time::Instant;

use super::inputs::Input;
use super::record::{self, DONE, Record, done_key};
use crate::account::Account;
use crate::local_file::read_local;
use crate::output::warn;
use crate::progress::Progress;

/// Reading the list of distributions may take so long.
const TIME_TO_READ: Duration = Duration::from_secs(120);

/// How many objects are read at once.
const CONCURRENCY: usize = 8;

/// The paths of one target in an error file.
#[derive(Debug)]
pub struct File {
    pub place: Place,
    pub target: Target,
    /// The alias of the target's distribution.
    pub alias: String,
    pub paths: Vec<InvalidationPath<'static>>,
    /// The hosts of URLs that stood in the place of paths.
    pub hosts: BTreeSet<String>,
}

/// Where an error file is.
#[derive(Clone, Debug)]
pub struct Place {
    /// What people call it.
    pub name: String,
    /// `None` for a file of this machine.
    pub object: Option<Object>,
}

/// An error file in the bucket.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its key, as the function wrote it.
    pub key: String,
    /// Whether it is still there. Otherwise only its record is.
    pub is_there: bool,
    /// The earlier replay.
    pub before: Option<Record>,
    /// Whether S3 says if there was one.
    pub is_known: bool,
}

impl Object {
    /// Where its text is.
    pub fn from(&self) -> String {
        match self.is_there {
            true => self.key.clone(),
            false => done_key(&self.key),
        }
    }
}

/// What was read.
#[derive(Debug)]
pub struct Files {
    pub files: Vec<File>,
    /// What cannot be replayed, file by file.
    pub problems: Problems<String>,
    /// Whether of all of them it is known what was submitted before.
    pub is_recorded: bool,
}

/// Reads error files. All that cannot be replayed is told, file by file.
///
/// # Errors
/// If the distributions of the account cannot be listed.
pub async fn read(
    account: &Account,
    bucket: &str,
    mut inputs: Vec<Input>,
    progress: &Progress,
) -> Result<Files> {
    inputs.sort();
    inputs.dedup();
    let mut targets = Targets::new(account).await?;
    progress.begin("error files", inputs.len() as u64);
    let mut files = Files {
        files: Vec::new(),
        problems: Problems::default(),
        is_recorded: true,
    };
    let mut read = stream::iter(inputs)
        .map(async |input| match input {
            Input::Key(key) => {
                let name = format!("s3://{bucket}/{key}");
                (name, read_key(&account.clients, bucket, key).await)
            }
            Input::Local(name) => {
                let read = read_local_file(&name);
                (name, read)
            }
        })
        .buffered(CONCURRENCY);
    while let Some((name, sections)) = read.next().await {
        let found = match sections {
            Ok(sections) => with_targets(sections, &mut targets).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => {
                let is_known = |file: &File| match &file.place.object {
                    Some(object) => object.is_known,
                    None => true,
                };
                files.is_recorded &= found.iter().all(is_known);
                files.files.extend(found);
            }
            Err(error) => files
                .problems
                .push(format!("{name} is not replayed: {error:#}")),
        }
        progress.step();
    }
    Ok(files)
}

async fn with_targets(
    sections: Vec<(Place, Section<'static>)>,
    targets: &mut Targets<'_>,
) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for (place, Section { file, hosts }) in sections {
        let (target, alias) = targets.find(&file.id).await?;
        files.push(File {
            place,
            target,
            alias,
            paths: file.sets.into_iter().flatten().collect(),
            hosts,
        });
    }
    Ok(files)
}

fn read_local_file(name: &str) -> Result<Vec<(Place, Section<'static>)>> {
    let text = read_local(name)?;
    let sections = replay::read_text(&text)?;
    let place = Place {
        name: match name {
            "-" => "standard input".to_owned(),
            name => name.to_owned(),
        },
        object: None,
    };
    Ok(sections.into_iter().map(|it| (place.clone(), it)).collect())
}

async fn read_key(
    clients: &Clients,
    bucket: &str,
    key: String,
) -> Result<Vec<(Place, Section<'static>)>> {
    // The key of a record is one of the error file, too.
    let key = match key.strip_prefix(DONE) {
        Some(name) => format!("{FOLDER}{name}"),
        None => key,
    };
    id_in_key(&key)?;
    let found = record::find(clients.s3(), bucket, &key).await;
    if let Err(error) = &found {
        warn(format_args!(
            "whether {key} was submitted before cannot be seen: {error:#}"
        ));
    }
    let is_known = found.is_ok();
    let before = found.ok().flatten();
    let (is_there, text) = match object(clients, bucket, &key).await {
        Err(Unread::Missing(_)) if before.is_some() => {
            (false, object(clients, bucket, &done_key(&key)).await?)
        }
        text => (true, text?),
    };
    let section = replay::read(&key, &text)?;
    let place = Place {
        name: key.clone(),
        object: Some(Object {
            key,
            is_there,
            before,
            is_known,
        }),
    };
    Ok(vec![(place, section)])
}

/// Why an object was not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("{0}")]
    Missing(ServiceError),
    #[error("{0}")]
    Refused(ServiceError),
    #[error("{0}")]
    TooLong(#[from] NotReplayable),
    #[error("its content does not arrive: {0}")]
    Cut(String),
}

async fn object(clients: &Clients, bucket: &str, key: &str) -> Result<Vec<u8>, Unread> {
    let object = clients.s3().get_object().bucket(bucket).key(key);
    let object = object.send().await.map_err(|error| match error.code() {
        Some("NoSuchKey") => Unread::Missing(service_error(&error)),
        _ => Unread::Refused(service_error(&error)),
    })?;
    let length = object.content_length().unwrap_or_default();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_FILE_BYTES {
        return Err(NotReplayable::TooLong(length).into());
    }
    let bytes = object.body.collect().await;
    let bytes = bytes.map_err(|error| Unread::Cut(error.to_string()))?;
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
