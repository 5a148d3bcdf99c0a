//! Paths and URLs that somebody gives, each for the distributions that it concerns.

use std::collections::BTreeMap;

use anyhow::Result;
use invalidator_core::distributions::address::{Address, answering};
use invalidator_core::distributions::listing::DistributionSummary;
use invalidator_core::path::{InvalidPath, InvalidationPath};
use invalidator_core::problems::Problems;
use invalidator_core::target::{DistributionId, Target};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::local_file::read_local;
use crate::usage::Usage;

/// All but what may stand in a path of an invalidation. A `%` stays: what looks encoded is.
const ILLEGAL: &AsciiSet = &CONTROLS.add(b' ');

/// The paths of each target.
pub type Paths = BTreeMap<Target, Vec<InvalidationPath<'static>>>;

/// The paths and URLs of arguments and files, a line each. Empty lines and those that begin with `#` are left out.
///
/// # Errors
/// If a file cannot be read.
pub fn lines(arguments: &[String], files: &[String]) -> Result<Vec<String>> {
    let mut lines = arguments.to_vec();
    for file in files {
        let text = read_local(file)?;
        let text = String::from_utf8(text)
            .map_err(|error| Usage(format!("{file} is not UTF-8: {error}")))?;
        let text = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let said = text.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.extend(said.map(str::to_owned));
    }
    Ok(lines)
}

/// Maps each line: a path to all of the given distributions, a URL to those with its host as alias or domain name,
/// among the given ones if there are any.
///
/// # Errors
/// If a line is neither, or concerns no distribution.
pub fn paths(
    lines: &[String],
    distributions: &[DistributionId],
    summaries: &[DistributionSummary],
) -> Result<Paths> {
    let mut paths = Paths::new();
    let mut problems = Problems::default();
    for line in lines {
        match one(line, distributions, summaries) {
            Ok((ids, path)) => {
                for id in ids {
                    let target = Target {
                        distribution: id,
                        tenant: None,
                    };
                    paths.entry(target).or_default().push(path.clone());
                }
            }
            Err(problem) => problems.push(format!("`{line}`: {problem}")),
        }
    }
    match problems.is_empty() {
        true => Ok(paths),
        false => Err(Usage(format!("nothing was submitted: {problems}")).into()),
    }
}

/// Where a path or URL belongs, and the path there.
///
/// # Errors
/// If it is neither, or concerns no distribution.
fn one(
    line: &str,
    distributions: &[DistributionId],
    summaries: &[DistributionSummary],
) -> Result<(Vec<DistributionId>, InvalidationPath<'static>), String> {
    let (ids, path) = place(line, distributions, summaries)?;
    Ok((
        ids,
        path.try_into()
            .map_err(|error: InvalidPath| error.to_string())?,
    ))
}

/// Where a path or URL belongs, and its path and query string there, encoded. It may be none that CloudFront takes.
///
/// # Errors
/// If it is neither, or concerns no distribution.
pub fn place(
    line: &str,
    distributions: &[DistributionId],
    summaries: &[DistributionSummary],
) -> Result<(Vec<DistributionId>, String), String> {
    if line.starts_with('/') {
        if distributions.is_empty() {
            return Err("say --distribution with a path, or give the URL".to_owned());
        }
        return Ok((distributions.to_vec(), encoded(line)));
    }
    let address = Address::parse(line);
    let address = address.map_err(|error| format!("{error}, and a path with /"))?;
    let found = answering(summaries, &address.host);
    let ids = found
        .iter()
        .map(|(it, _)| DistributionId::new(it.id.as_str()));
    let ids: Vec<_> = ids
        .filter(|id| distributions.is_empty() || distributions.contains(id))
        .collect();
    if ids.is_empty() {
        return Err(format!(
            "no distribution of the account has the alias or domain name {}",
            address.host
        ));
    }
    let query = address
        .query
        .map_or_else(String::new, |it| format!("?{it}"));
    Ok((ids, encoded(&format!("{}{query}", address.encoded_path))))
}

/// The path as CloudFront takes it. What is not ASCII, and spaces, are percent-encoded.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ILLEGAL).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ascii_is_encoded_and_what_is_encoded_stays() {
        for (text, expected) in [
            ("/a", "/a"),
            ("/a b/*", "/a%20b/*"),
            ("/stra\u{df}e", "/stra%C3%9Fe"),
            ("/a%20b?x=1", "/a%20b?x=1"),
        ] {
            assert_eq!(encoded(text), expected);
        }
    }
}
