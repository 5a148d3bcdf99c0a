//! Which authorities are believed when a server shows its certificate.

use std::fmt;
use std::sync::Arc;

use invalidator_core::text::one_line;
use invalidator_core::tls_roots;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::ConfigError;

/// The variable that names a file of root certificates, as in every AWS SDK.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// How much of the cause is shown.
const MAX_CAUSE: usize = 200;

/// Root certificates.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// Mozilla's, which are built in.
    #[default]
    BuiltIn,
    /// Those of a file, and no others.
    OfFile {
        file: String,
        store: Arc<RootCertStore>,
    },
}

impl Roots {
    /// Those of the file that `AWS_CA_BUNDLE` names, or else those that are built in. Behind a proxy that
    /// inspects TLS, or before a private endpoint, these vouch for nobody.
    ///
    /// # Errors
    /// If the file cannot be read, or has no root certificate.
    pub fn from_env() -> Result<Self, ConfigError> {
        let Some(file) = std::env::var(CA_BUNDLE).ok().filter(|it| !it.is_empty()) else {
            return Ok(Self::BuiltIn);
        };
        match read(&file) {
            Ok(store) => Ok(Self::OfFile {
                file,
                store: Arc::new(store),
            }),
            Err(cause) => Err(ConfigError::Invalid {
                name: CA_BUNDLE,
                value: file,
                expected: format!(
                    "a file of root certificates in PEM format ({})",
                    one_line(&cause, MAX_CAUSE)
                ),
            }),
        }
    }
}

/// The date of those that are built in, or the file.
impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => tls_roots::PUBLISHED.fmt(f),
            Self::OfFile { file, .. } => f.write_str(file),
        }
    }
}

/// Reads all certificates. Those that are no root certificates rustls can use are left out, as bundles of
/// operating systems have some.
fn read(file: &str) -> Result<RootCertStore, String> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    let certificates: Result<Vec<_>, _> = certificates.collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(certificates);
    match usable {
        0 => Err("it has none".to_owned()),
        _ => Ok(store),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_root_certificate_is_refused() {
        let of_tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tls");
        for (file, expected) in [
            (format!("{of_tests}/roots.pem"), Ok(2)),
            (format!("{of_tests}/make.sh"), Err("it has none")),
            (format!("{of_tests}/key.pem"), Err("it has none")),
            (format!("{of_tests}/nothing.pem"), Err("No such file")),
        ] {
            match (read(&file), expected) {
                (Ok(store), Ok(count)) => assert_eq!(store.len(), count, "{file}"),
                (Err(cause), Err(part)) => assert!(cause.contains(part), "{file}: {cause}"),
                (read, _) => panic!("{file}: {read:?}"),
            }
        }
    }
}
