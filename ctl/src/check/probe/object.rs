//! The object that is uploaded, and deleted whatever happens.

use std::cell::{Cell, RefCell};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator::aws::error::{error_of, service_error};

use crate::account::Account;

/// An object of this program in a bucket.
pub struct Object<'a> {
    account: &'a Account,
    bucket: &'a str,
    key: &'a str,
    /// Whether it may be there.
    may_be_there: Cell<bool>,
    /// Its versions, if the bucket keeps them.
    versions: RefCell<Vec<String>>,
}

/// A key that an operator sees to be ours.
pub fn own_key() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let id = now.map_or(0, |it| it.as_millis());
    format!(".invalidator-probe/{id}.txt")
}

impl<'a> Object<'a> {
    pub fn new(account: &'a Account, bucket: &'a str, key: &'a str) -> Self {
        Self {
            account,
            bucket,
            key,
            may_be_there: Cell::new(false),
            versions: RefCell::default(),
        }
    }

    /// Uploads it, unless there is one of this name: that would be somebody else's.
    ///
    /// # Errors
    /// If there is such an object, or it cannot be uploaded.
    pub async fn upload(&self) -> Result<()> {
        let (bucket, key) = (self.bucket, self.key);
        let s3 = self.account.clients.s3();
        let taken = || format!("there is an object s3://{bucket}/{key} already: name another key");
        let was_absent = match s3.head_object().bucket(bucket).key(key).send().await {
            Ok(_) => bail!("{}", taken()),
            Err(error) => error
                .raw_response()
                .is_some_and(|it| it.status().as_u16() == 404),
        };
        let text = format!("uploaded by invalidatorctl check --probe {bucket} as {key}\n");
        let call = s3.put_object().bucket(bucket).key(key).if_none_match("*");
        let call = call.content_type("text/plain").cache_control("no-store");
        // An answer may be lost. Then it may be there, and it is ours, if there was none before.
        self.may_be_there.set(was_absent);
        let error = match call.body(text.clone().into_bytes().into()).send().await {
            Ok(answer) => {
                self.may_be_there.set(true);
                self.versions
                    .borrow_mut()
                    .extend(answer.version_id.filter(|it| it != "null"));
                return Ok(());
            }
            Err(error) => error,
        };
        // The first attempt may have succeeded, and its answer was lost.
        let is_there = error.code() == Some("PreconditionFailed");
        if is_there && was_absent && self.holds(&text).await {
            return Ok(());
        }
        if error
            .raw_response()
            .is_some_and(|it| it.status().is_client_error())
        {
            self.may_be_there.set(false);
        }
        if is_there {
            bail!("{}", taken());
        }
        Err(service_error(&error)).with_context(|| format!("failed to upload s3://{bucket}/{key}"))
    }

    /// Whether it is there with this content.
    async fn holds(&self, text: &str) -> bool {
        let call = self.account.clients.s3().get_object();
        let Ok(answer) = call.bucket(self.bucket).key(self.key).send().await else {
            return false;
        };
        let content = answer.body.collect().await;
        content.is_ok_and(|it| it.to_vec() == text.as_bytes())
    }

    /// Deletes it, with its version if the bucket keeps versions. Returns whether there was something to delete.
    ///
    /// # Errors
    /// If it cannot be deleted.
    pub async fn delete(&self) -> Result<bool> {
        if !self.may_be_there.get() {
            return Ok(false);
        }
        let s3 = self.account.clients.s3();
        let versions = self.versions.take();
        let mut is_left = versions.is_empty();
        for version in versions {
            let call = s3.delete_object().bucket(self.bucket).key(self.key);
            // Not everybody may delete versions. A delete marker hides the object as well.
            is_left |= call.version_id(version).send().await.is_err();
        }
        if is_left {
            let call = s3.delete_object().bucket(self.bucket).key(self.key);
            let deleted = call.send().await;
            deleted.map_err(|error| error_of("S3 DeleteObject", &error))?;
        }
        Ok(true)
    }
}
