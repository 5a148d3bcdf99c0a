//! The user agent that CloudTrail shows: `invalidator/{version}`.
//!
//! It replaces the SDK's, which lists the SDK features in use. Looking up their numbers takes 127,000
//! instructions of the first event, and 17,000 of each later call.

use aws_runtime::user_agent::UserAgentInterceptor;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_smithy_runtime_api::client::interceptors::{
    Intercept, disable_interceptor, dyn_dispatch_hint,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

pub(super) const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Replaces the SDK's user agent with ours.
#[derive(Debug)]
pub(super) struct Own;

#[dyn_dispatch_hint]
impl Intercept for Own {
    fn name(&self) -> &'static str {
        "UserAgent"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        call: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let disabled = disable_interceptor::<UserAgentInterceptor>("the name is ours");
        call.interceptor_state().store_put(disabled);
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        headers.insert("user-agent", USER_AGENT);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;

    use super::*;
    use crate::aws::{Clients, Endpoints, sdk_config};

    #[tokio::test]
    async fn aws_is_told_our_name_and_not_that_of_the_sdk() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let request = std::thread::spawn(move || {
            let (mut connection, _) = server.accept().unwrap();
            let mut request = [0; 4096];
            let length = connection.read(&mut request).unwrap();
            connection
                .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let credentials =
            SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test"));
        let sdk = sdk_config(
            credentials,
            Some("us-east-1".to_owned()),
            Some(url.parse().unwrap()),
        );
        let clients = Clients::new(sdk, Endpoints::default());
        let call = clients.s3().get_bucket_tagging().bucket("site").send();
        call.await.unwrap_err();

        let request = request.join().unwrap();
        assert!(
            request.contains(&format!("user-agent: {USER_AGENT}\r\n")),
            "{request}"
        );
        assert!(!request.contains("aws-sdk"), "{request}");
    }
}
