//! Signs calls of SQS with AWS's Signature Version 4.
//!
//! All of them are alike: `POST`, without a query, and with the same headers. So what is signed is written down here,
//! and the key is derived once for each day and secret; both would else take as long as the rest of a call.
//!
//! Source: IAM User Guide, "Create a signed AWS API request".

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

const SERVICE: &str = "sqs";
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// What differs from call to call.
pub(super) struct Call<'a> {
    /// With a path, and without a query.
    pub url: &'a str,
    /// The operation, as in `AmazonSQS.SendMessage`.
    pub target: &'static str,
    pub body: &'a [u8],
}

/// Signs, and keeps the key.
#[derive(Debug, Default)]
pub(super) struct Signer {
    key: Mutex<Option<Key>>,
}

/// The key of a day.
struct Key {
    secret: String,
    region: String,
    day: String,
    key: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

impl Signer {
    /// The headers of a call, except for those that are not signed.
    pub fn headers(
        &self,
        call: &Call<'_>,
        credentials: &Credentials,
        region: &str,
        time: SystemTime,
    ) -> Vec<(&'static str, String)> {
        let at = iso_8601(time);
        let day = &at[..8];
        let token = credentials.session_token();
        let (host, path) = host_and_path(call.url);
        let signed = match token {
            Some(_) => {
                "content-type;host;x-amz-date;x-amz-security-token;x-amz-target;x-amzn-query-mode"
            }
            None => "content-type;host;x-amz-date;x-amz-target;x-amzn-query-mode",
        };
        let mut canonical = String::with_capacity(512 + token.map_or(0, str::len));
        let body = hex(&Sha256::digest(call.body));
        for part in [
            "POST\n",
            &encoded(path),
            "\n\ncontent-type:",
            CONTENT_TYPE,
            "\nhost:",
            host,
            "\nx-amz-date:",
            &at,
            token.map_or("", |_| "\nx-amz-security-token:"),
            token.unwrap_or_default(),
            "\nx-amz-target:",
            call.target,
            "\nx-amzn-query-mode:true\n\n",
            signed,
            "\n",
            &body,
        ] {
            canonical.push_str(part);
        }
        let scope = format!("{day}/{region}/{SERVICE}/aws4_request");
        let canonical = hex(&Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{canonical}");
        let secret = credentials.secret_access_key();
        let signature = self.signature(secret, (day, time), region, text.as_bytes());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            credentials.access_key_id()
        );
        let mut headers = vec![
            ("content-type", CONTENT_TYPE.to_owned()),
            ("x-amz-target", call.target.to_owned()),
            // Errors are named as the SDK's clients get them.
            ("x-amzn-query-mode", "true".to_owned()),
            ("x-amz-date", at),
            ("authorization", authorization),
        ];
        headers.extend(token.map(|token| ("x-amz-security-token", token.to_owned())));
        headers
    }

    fn signature(
        &self,
        secret: &str,
        (day, time): (&str, SystemTime),
        region: &str,
        text: &[u8],
    ) -> String {
        let mut known = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |key: &Key| key.day == day && key.secret == secret && key.region == region;
        if !known.as_ref().is_some_and(is_same) {
            let key = generate_signing_key(secret, time, region, SERVICE);
            *known = Some(Key {
                secret: secret.to_owned(),
                region: region.to_owned(),
                day: day.to_owned(),
                key: key.as_ref().to_vec(),
            });
        }
        let key = known.as_ref().map(|it| it.key.as_slice());
        calculate_signature(key.unwrap_or_default(), text)
    }
}

/// As in `20261129T031500Z`.
fn iso_8601(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

/// The host as hyper sends it, without the port that its scheme has anyway, and the path.
fn host_and_path(url: &str) -> (&str, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port = match scheme {
        "https" => ":443",
        _ => ":80",
    };
    (host.strip_suffix(port).unwrap_or(host), path)
}

/// A path of a URL, encoded once more: all but letters, digits and `/-._~`.
fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            // Writing to a string does not fail.
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4::SigningParams;

    use super::*;

    /// The header that the SDK would send.
    fn of_the_sdk(
        call: &Call<'_>,
        credentials: &Credentials,
        region: &str,
        time: SystemTime,
    ) -> String {
        let identity = credentials.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(SERVICE)
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let headers = [
            ("content-type", CONTENT_TYPE),
            ("x-amz-target", call.target),
            ("x-amzn-query-mode", "true"),
        ];
        let body = SignableBody::Bytes(call.body);
        let request = SignableRequest::new("POST", call.url, headers.into_iter(), body).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        let mut headers = instructions.headers();
        let (_, value) = headers.find(|(name, _)| *name == "authorization").unwrap();
        value.to_owned()
    }

    #[test]
    fn a_signature_is_that_of_the_sdk() {
        let signer = Signer::default();
        let day = Duration::from_secs(86_400);
        let start = UNIX_EPOCH + Duration::from_secs(1_795_226_584);
        let urls = [
            "https://sqs.eu-west-1.amazonaws.com/",
            "https://sqs.cn-north-1.amazonaws.com.cn:443/",
            "http://127.0.0.1:4566/",
            "http://localhost:80/",
            "https://vpce-1.example.com/a%20b/c~d/",
        ];
        let of = |secret: &str, token: Option<&str>| {
            Credentials::new("AKID", secret, token.map(str::to_owned), None, "test")
        };
        let all = [of("one", None), of("one", Some("IQoJ+/=")), of("two", None)];
        for (round, url) in urls.into_iter().enumerate() {
            for (credentials, region) in all.iter().zip(["eu-west-1", "us-east-1", "us-east-1"]) {
                // Each with a key that was just used, too, and the next day, when it is another.
                for time in [start, start, start + day, start + day * 40] {
                    let text = format!("{{\"QueueUrl\":\"{round}\"}}");
                    let call = Call {
                        url,
                        target: "AmazonSQS.SendMessage",
                        body: text.as_bytes(),
                    };
                    let headers = signer.headers(&call, credentials, region, time);
                    let ours = headers.iter().find(|(name, _)| *name == "authorization");
                    let sdk = of_the_sdk(&call, credentials, region, time);
                    assert_eq!(ours.unwrap().1, sdk, "{url} {region}");
                }
            }
        }
    }
}
