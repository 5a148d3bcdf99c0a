//! `invalidatorctl pause`: holds changes back, and shows which are.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Result, bail};
use clap::Args;
use invalidator::aws::error::error_of;
use invalidator::pauses::read_pauses;
use invalidator::state;
use invalidator_core::pause::{MAX_TEXT, MOST_PAUSES, PAUSES_KEY, Pause, Pauses};
use invalidator_core::text::Lines;

use crate::account::{self, Account};
use crate::confirm::confirm;
use crate::held::{Overview, Place};
use crate::output::{Format, show, show_json, show_line, tell, warn};
use crate::quote::{Here, command};
use crate::stack::{self, Stack};
use crate::usage::Usage;

/// The version of the JSON output.
const VERSION: u32 = 1;

/// Hold back the changes of a bucket, or of its keys that begin with a prefix, until `invalidatorctl resume`.
/// Without a bucket, or with `list`, show what is paused.
///
/// During a backfill nothing is invalidated, and afterwards `resume --collapse` submits the few wildcards that cover
/// everything that changed. Changes of all other keys go on. They are kept in the error bucket for as long as it takes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl pause site/img/ --why backfill
  invalidatorctl pause list
  invalidatorctl resume site/img/ --collapse")]
pub struct Options {
    /// The bucket, and what the keys begin with.
    #[arg(value_name = "BUCKET[/PREFIX]|list")]
    what: Option<String>,
    /// Why, for whoever looks later.
    #[arg(long, value_name = "TEXT", default_value = "", requires = "what")]
    why: String,
    #[command(flatten)]
    stack: stack::Name,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let place = match options.what.as_deref() {
        None | Some("list") => None,
        Some(what) => Some(what.parse::<Place>().map_err(Usage)?),
    };
    if options.why.len() > MAX_TEXT {
        return Err(Usage(format!("--why has more than {MAX_TEXT} bytes")).into());
    }
    let account = account::open(account).await?;
    let stack = stack::find_named(&account, &options.stack.name).await?;
    if let Some(place) = place
        && !begin(&account, &stack, place, &options).await?
    {
        return Ok(ExitCode::FAILURE);
    }
    let overview = Overview::read(&account, &stack).await?;
    match options.output {
        Format::Json => show_json(&serde_json::json!({
            "v": VERSION, "pauses": overview.pauses, "left": overview.left,
        }))?,
        Format::Text => show(&text(&overview, &stack.here(&account))),
    }
    Ok(ExitCode::SUCCESS)
}

fn text(overview: &Overview, here: &Here) -> Lines {
    let mut lines = Lines::new();
    if overview.is_nothing() {
        lines.line("nothing is paused");
    }
    for paused in &overview.pauses {
        lines.line(paused);
    }
    for left in &overview.left {
        let resume = here.complete(&format!("invalidatorctl resume {}", left.bucket));
        lines.line(format_args!("{left}: `{resume}` puts them back"));
    }
    lines
}

/// Whether it is paused.
async fn begin(account: &Account, stack: &Stack, place: Place, options: &Options) -> Result<bool> {
    if stack.output("PauseVersion").ok() != Some("1") {
        bail!(
            "nothing was paused: this stack is of a version before `pause`, so its function would not hold anything \
             back. Deploy this version, {}, first",
            env!("CARGO_PKG_VERSION")
        );
    }
    let here = stack.here(account);
    let (s3, bucket) = (account.clients.s3(), stack.error_bucket.as_str());
    let known = match read_pauses(s3, bucket).await {
        Ok(known) => known,
        // It can still be written anew.
        Err(error) => {
            warn(format_args!("{error:#}; the list is written anew"));
            Pauses::default()
        }
    };
    if known
        .of(&place.bucket, &place.prefix)
        .any(|it| !it.is_resumed)
    {
        tell("it is paused already");
        return Ok(true);
    }
    if known.all().len() >= MOST_PAUSES {
        return Err(Usage(format!(
            "there are {MOST_PAUSES} pauses already, and no more fit"
        ))
        .into());
    }
    check_exists(account, &place).await?;
    let Place { bucket: of, prefix } = &place;
    let keys = match prefix.as_str() {
        "" => "all keys".to_owned(),
        prefix => format!("keys that begin with `{prefix}`"),
    };
    tell(format_args!(
        "changes of {keys} of {of} will be held back under s3://{bucket}/state/held/, for as long as it takes, until \
         `{}`",
        here.complete(&command(["invalidatorctl", "resume", &place.to_string()]))
    ));
    tell(
        "Each flush of the function reads this within a minute. What was planned before is still invalidated. Visitors \
         see old pages of these keys meanwhile, and `invalidatorctl wait` fails for the bucket.",
    );
    if !options.yes && !confirm(&format!("pause {place}?"))? {
        tell("nothing was paused");
        return Ok(false);
    }
    let place = (place.bucket, place.prefix);
    let now = SystemTime::now().into();
    let (by, why) = (account.caller.clone(), options.why.clone());
    let pause = Pause::new(fastrand::u64(..), place, now, by, why);
    let begun = state::change(s3, bucket, PAUSES_KEY, |list: &mut Pauses| {
        list.begin(pause.clone())
    });
    let begun = begun.await?;
    if !begun.holds(&pause.id) {
        bail!("nothing was paused: the list of pauses has no room for this one");
    }
    if let Format::Text = options.output {
        show_line("paused; it takes effect within a minute");
    }
    Ok(true)
}

/// A name that is misspelt would hold nothing back.
async fn check_exists(account: &Account, place: &Place) -> Result<()> {
    let call = account.clients.s3().head_bucket();
    let Err(error) = call.bucket(place.bucket.as_str()).send().await else {
        return Ok(());
    };
    let status = error.raw_response().map(|it| it.status().as_u16());
    if status == Some(404) {
        return Err(Usage(format!("there is no bucket {}", place.bucket)).into());
    }
    warn(format_args!(
        "whether there is a bucket {} is not known: {}",
        place.bucket,
        error_of("S3 HeadBucket", &error)
    ));
    Ok(())
}
