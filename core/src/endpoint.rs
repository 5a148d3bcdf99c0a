//! Where calls may go: over TLS anywhere, without it only within this machine. Events, paths and credentials
//! pass through each call, so a wrong endpoint must not make them readable on the way.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The URL of an endpoint that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl(String);

/// What a URL must be to be called.
pub const ALLOWED: &str = "a URL that begins with https://, or one of this machine, such as http://127.0.0.1, \
                           http://[::1] or http://localhost";

/// A URL may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be {ALLOWED}")]
pub struct NotAllowed;

impl EndpointUrl {
    /// The URL as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointUrl {
    type Err = NotAllowed;

    fn from_str(url: &str) -> Result<Self, NotAllowed> {
        check(url)?;
        Ok(Self(url.to_owned()))
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a URL, such as that of a queue, may be called.
///
/// # Errors
/// If it is neither `https` nor within this machine, or if programs could disagree about its host.
pub fn check(url: &str) -> Result<(), NotAllowed> {
    let (scheme, host) = scheme_and_host(url).ok_or(NotAllowed)?;
    let is_tls = scheme.eq_ignore_ascii_case("https");
    let is_allowed = is_tls || scheme.eq_ignore_ascii_case("http") && is_this_machine(host);
    is_allowed.then_some(()).ok_or(NotAllowed)
}

/// Whether a call may go to this URL: if it may be an endpoint, or is a service that gives a machine of EC2,
/// ECS or EKS its credentials. Those speak only HTTP, which does not leave the machine's own link. The
/// function calls none of them, `invalidatorctl` may.
///
/// Source: AWS SDKs and Tools Reference Guide, "Container credential provider", "IMDS credential provider".
pub fn may_be_called(url: &str) -> bool {
    check(url).is_ok() || scheme_and_host(url).is_some_and(|(_, host)| gives_credentials(host))
}

fn scheme_and_host(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let is_end = |c: char| matches!(c, '/' | '?' | '#');
    let authority = rest.split(is_end).next()?;
    // `http://localhost@example.org` and `http://localhost\.example.org` are calls to example.org.
    let is_plain =
        |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    let host = host_of(authority);
    (!host.is_empty() && authority.bytes().all(is_plain)).then_some((scheme, host))
}

fn gives_credentials(host: &str) -> bool {
    match ip_of(host) {
        Some(Ip::V4(ip)) => ip.is_link_local(),
        Some(Ip::V6(ip)) => ip.segments()[..2] == [0xfd00, 0x0ec2],
        None => false,
    }
}

fn is_this_machine(host: &str) -> bool {
    match ip_of(host) {
        Some(Ip::V4(ip)) => ip.is_loopback(),
        Some(Ip::V6(ip)) => ip.is_loopback(),
        None => host.eq_ignore_ascii_case("localhost"),
    }
}

enum Ip {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

fn ip_of(host: &str) -> Option<Ip> {
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match in_brackets {
        Some(address) => address.parse().ok().map(Ip::V6),
        None => host.parse().ok().map(Ip::V4),
    }
}

/// The host without its port.
fn host_of(authority: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|c| c.is_ascii_digit());
    match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) && host.starts_with('[') == host.ends_with(']') => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_go_over_tls_or_stay_within_this_machine() {
        for (url, allowed) in [
            ("https://sqs.eu-west-1.amazonaws.com", true),
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", true),
            ("HTTPS://example.org:8443/", true),
            ("https://[2001:db8::1]:8443", true),
            ("http://127.0.0.1", true),
            ("http://127.0.0.1:4566", true),
            ("http://127.9.8.7:4566/000000000000/q", true),
            ("http://[::1]:4566/x?y#z", true),
            ("http://[::1]", true),
            ("http://localhost:4566", true),
            ("HTTP://LocalHost", true),
            // Another machine, also the one that the container runs on.
            ("http://example.org", false),
            ("http://sqs.eu-west-1.amazonaws.com/123456789012/q", false),
            ("http://host.docker.internal:4566", false),
            ("http://169.254.169.254", false),
            ("http://10.0.0.1", false),
            ("http://0.0.0.0:4566", false),
            ("http://[2001:db8::1]", false),
            // What looks like this machine.
            ("http://localhost.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("http://127.0.0.1@example.org", false),
            ("http://127.0.0.1:4566@example.org", false),
            ("http://localhost:80:80", false),
            ("http://localhost\\.example.org", false),
            ("http://example.org#@localhost", false),
            ("http://example.org?@localhost", false),
            ("http://127.1", false),
            ("http://2130706433", false),
            ("http://::1", false),
            ("http://[127.0.0.1]", false),
            ("http://[::1", false),
            ("http://localhost ", false),
            ("http://localhost\n", false),
            ("http://ⓛocalhost", false),
            // No URL of an endpoint.
            ("https://", false),
            ("https://:443", false),
            ("https:///path", false),
            ("https://user:password@example.org", false),
            ("https://example.org\u{0}", false),
            ("ftp://localhost", false),
            ("localhost:4566", false),
            ("//localhost", false),
            ("", false),
        ] {
            assert_eq!(check(url).is_ok(), allowed, "{url}");
        }
    }

    #[test]
    fn machines_get_their_credentials_without_tls() {
        for (url, expected) in [
            ("http://169.254.169.254/latest/api/token", true),
            ("http://169.254.170.2/v2/credentials/x", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::254]/latest", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("https://example.org", true),
            ("http://localhost:4566/x", true),
            ("http://169.255.0.1", false),
            ("http://[fd00:ec3::1]", false),
            ("http://169.254.169.254.example.org", false),
            ("http://169.254.169.254@example.org", false),
            ("http://example.org", false),
        ] {
            assert_eq!(may_be_called(url), expected, "{url}");
        }
    }
}
