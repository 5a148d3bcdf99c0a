//! The stand-in for CloudFront is as strict as CloudFront, so the tests that use it may trust it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;

use std::time::Duration;

use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::config::retry::RetryConfig;
use aws_sdk_cloudfront::config::timeout::TimeoutConfig;
use aws_sdk_cloudfront::config::{BehaviorVersion, Region};
use aws_sdk_cloudfront::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudfront::types::{
    ConnectionMode, DistributionTenantAssociationFilter, Invalidation, InvalidationBatch,
    InvalidationList, Paths,
};

use client::client_at;
use time::OffsetDateTime;

use strict_cloudfront::{
    Behavior, CACHING_DISABLED, CACHING_OPTIMIZED, CachePolicy, CloudFront, Distribution, Fault,
    Operation, Origin, QueryStrings,
};

/// The answer to an invalidation: the invalidation, or the status and code of the error.
type Answer = Result<Invalidation, (u16, String)>;

async fn one_distribution() -> (CloudFront, Client) {
    let cloudfront = CloudFront::start().await.unwrap();
    cloudfront.add(site("E1"));
    let client = client_at(&cloudfront.endpoint_url());
    (cloudfront, client)
}

fn site(id: &str) -> Distribution {
    Distribution::new(id, Origin::s3("site", "example-site"))
}

fn batch(reference: &str, quantity: usize, paths: &[&str]) -> InvalidationBatch {
    let items = (!paths.is_empty()).then(|| paths.iter().map(ToString::to_string).collect());
    let paths = Paths::builder()
        .quantity(quantity as i32)
        .set_items(items)
        .build()
        .unwrap();
    InvalidationBatch::builder()
        .caller_reference(reference)
        .paths(paths)
        .build()
        .unwrap()
}

async fn invalidate(client: &Client, id: &str, reference: &str, paths: &[&str]) -> Answer {
    send(client, id, batch(reference, paths.len(), paths)).await
}

async fn send(client: &Client, id: &str, batch: InvalidationBatch) -> Answer {
    let call = client.create_invalidation().distribution_id(id);
    match call.invalidation_batch(batch).send().await {
        Ok(output) => Ok(output.invalidation.unwrap()),
        Err(error) => Err(refusal(&error)),
    }
}

fn refusal<E: ProvideErrorMetadata>(
    error: &SdkError<E, aws_sdk_cloudfront::config::http::HttpResponse>,
) -> (u16, String) {
    let status = error.raw_response().unwrap().status().as_u16();
    (status, error.code().unwrap().to_owned())
}

fn refused<T>(status: u16, code: &str) -> Result<T, (u16, String)> {
    Err((status, code.to_owned()))
}

mod paths {
    use strict_cloudfront::rules::{MAX_PATH_LENGTH, PathFault, check_path};

    #[test]
    fn everything_that_need_not_be_encoded_may_stand_raw() {
        for path in [
            "/",
            "/index.html",
            "/a/b//c/./../d",
            "/-_.!$&'()*+,:;=@",
            "/%EA%B0%80.html",
            "/100%25",
            "/lower%2fcase",
        ] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_star_and_a_question_mark_may_stand_anywhere() {
        for path in ["/*", "/x*", "/a*b", "/*.jpg", "/x?*", "/x.jpg?v=2", "/?"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_path_begins_with_a_slash() {
        for path in [
            "",
            "*",
            "index.html",
            " /index.html",
            "https://example.com/",
            "#tag",
        ] {
            assert_eq!(check_path(path), Err(PathFault::NoLeadingSlash), "{path}");
        }
    }

    #[test]
    fn unsafe_characters_must_be_encoded() {
        for unsafe_one in " \"<>#{}|\\^[]`".chars() {
            let fault = Err(PathFault::Unencoded(unsafe_one));
            assert_eq!(check_path(&format!("/a{unsafe_one}b")), fault);
        }
    }

    #[test]
    fn control_characters_must_be_encoded() {
        for control in ('\0'..' ').chain(['\x7f']) {
            let fault = Err(PathFault::Unencoded(control));
            assert_eq!(check_path(&format!("/a{control}b")), fault);
        }
    }

    #[test]
    fn characters_beyond_ascii_must_be_encoded() {
        for beyond in ['é', '가', '\u{80}', '😀'] {
            let fault = Err(PathFault::Unencoded(beyond));
            assert_eq!(check_path(&format!("/{beyond}")), fault);
        }
    }

    #[test]
    fn two_hex_digits_follow_a_percent_sign() {
        for path in ["/%", "/%4", "/100%", "/%zz", "/%2", "/%%20", "/a%é"] {
            assert_eq!(check_path(path), Err(PathFault::BarePercent), "{path}");
        }
    }

    /// aws-sdk #525: a raw tilde failed whole deployments.
    #[test]
    fn a_tilde_is_refused_raw_and_accepted_encoded() {
        assert_eq!(check_path("/~user/"), Err(PathFault::Tilde));
        assert_eq!(check_path("/%7Euser/"), Ok(()));
    }

    #[test]
    fn a_path_has_at_most_4000_characters() {
        let longest = format!("/{}", "a".repeat(MAX_PATH_LENGTH - 1));
        assert_eq!(check_path(&longest), Ok(()));
        let longer = Err(PathFault::TooLong(4_001));
        assert_eq!(check_path(&format!("{longest}a")), longer);
    }
}

/// What an invalidation path clears.
mod cached {
    use strict_cloudfront::rules::clears;

    /// Developer guide, "Invalidate files".
    #[test]
    fn a_path_clears_exactly_what_it_is_and_a_wildcard_all_that_begins_so() {
        for (path, viewed, cleared) in [
            ("/a.jpg", "/a.jpg", true),
            ("/a.jpg", "/A.jpg", false),
            ("/d", "/d/", false),
            ("/d/", "/d", false),
            ("/d/", "/d/a", false),
            ("/d/*", "/d/a/b", true),
            ("/d/*", "/d", false),
            ("/d*", "/d", true),
            ("/*", "/", true),
            // Only the last character is a wildcard.
            ("/*.jpg", "/a.jpg", false),
            ("/*.jpg", "/*.jpg", true),
            ("/%2A", "/*", false),
            ("/%2A", "/a", false),
            ("/a*", "/a*", true),
        ] {
            assert_eq!(clears(path, viewed, None), cleared, "{path} {viewed}");
        }
    }

    #[test]
    fn a_path_that_is_encoded_in_another_way_clears_nothing() {
        for (path, viewed, cleared) in [
            ("/a%20b", "/a b", true),
            ("/%ED%95%9C", "/한", true),
            ("/%ed%95%9c", "/한", false),
            ("/%61", "/a", false),
            ("/%28a%29", "/(a)", false),
            ("/(a)!$&*,:;=@-_.", "/(a)!$&*,:;=@-_.", true),
            ("/50%25", "/50%", true),
            // Accepted, and of no effect: each means something else.
            ("/a+b", "/a+b", false),
            ("/a%2Bb", "/a+b", true),
            ("/a?b", "/a?b", false),
            ("/a%3Fb", "/a?b", true),
            ("/it's", "/it's", false),
            ("/it%27s", "/it's", true),
            // aws-sdk #525: a path with a tilde cannot be cleared but by a wildcard.
            ("/a%7Eb", "/a~b", false),
            ("/a*", "/a~b", true),
        ] {
            assert_eq!(clears(path, viewed, None), cleared, "{path} {viewed}");
        }
    }

    #[test]
    fn a_query_string_in_the_cache_key_is_part_of_the_cached_path() {
        for (path, query, cleared) in [
            ("/x.jpg", None, true),
            ("/x.jpg", Some("v=2"), false),
            ("/x.jpg?v=2", Some("v=2"), true),
            ("/x.jpg?v=2", None, false),
            ("/x.jpg*", Some("v=2"), true),
            ("/x.jpg*", None, true),
            ("/x.jpg?*", None, false),
        ] {
            assert_eq!(clears(path, "/x.jpg", query), cleared, "{path} {query:?}");
        }
    }
}

mod invalidations {
    use super::*;

    #[tokio::test]
    async fn a_path_that_comes_twice_is_billed_twice() {
        let (cloudfront, client) = one_distribution().await;
        let paths = ["/a", "/a"];
        assert!(invalidate(&client, "E1", "r1", &paths).await.is_ok());
        assert_eq!(cloudfront.paths("E1"), paths);
    }

    #[tokio::test]
    #[should_panic = "E2 was never in this account"]
    async fn nobody_expects_anything_of_a_distribution_that_never_was() {
        let (cloudfront, _client) = one_distribution().await;
        cloudfront.remove("E1");
        assert!(cloudfront.invalidations("E1").is_empty(), "it once was");
        cloudfront.invalidations("E2");
    }

    #[tokio::test]
    #[should_panic = "E2 was never in this account"]
    async fn no_fault_is_for_a_distribution_that_never_was() {
        let (cloudfront, _client) = one_distribution().await;
        cloudfront.fail(Fault::Throttling.always().of("E2"));
    }

    #[tokio::test]
    async fn what_is_accepted_is_recorded_as_it_came() {
        let (cloudfront, client) = one_distribution().await;
        let paths = ["/index.html", "/a%20b", "/a&b='c'", "/x?*"];
        let accepted = invalidate(&client, "E1", "r1", &paths).await.unwrap();
        assert_eq!(accepted.status, "InProgress");

        let recorded = cloudfront.invalidations("E1");
        assert_eq!(recorded.len(), 1);
        assert_eq!(recorded[0].id, accepted.id);
        assert_eq!(recorded[0].caller_reference, "r1");
        assert_eq!(recorded[0].paths, paths);
        let echoed = accepted.invalidation_batch.unwrap();
        assert_eq!(echoed.caller_reference, "r1");
        assert_eq!(echoed.paths.unwrap().items.unwrap(), paths);
    }

    #[tokio::test]
    async fn one_bad_path_refuses_the_whole_batch_and_is_not_named() {
        let (cloudfront, client) = one_distribution().await;
        for bad in ["no-slash", "/a b", "/~a", "/가", "/50%", "/[a]", "/a\nb"] {
            let call = client.create_invalidation().distribution_id("E1");
            let batch = batch("r1", 2, &["/good", bad]);
            let error = call.invalidation_batch(batch).send().await.unwrap_err();
            assert_eq!(
                refusal(&error),
                (400, "InvalidArgument".to_owned()),
                "{bad:?}"
            );
            assert_eq!(
                error.message().unwrap(),
                "Your request contains one or more invalid invalidation paths."
            );
        }
        assert!(cloudfront.invalidations("E1").is_empty());
        let detail = cloudfront.calls()[0].detail.clone();
        assert_eq!(detail.unwrap(), "\"no-slash\": no leading slash");
    }

    #[tokio::test]
    async fn a_batch_holds_at_most_3000_paths() {
        let (cloudfront, client) = one_distribution().await;
        let paths: Vec<_> = (0..3_001).map(|n| format!("/{n}")).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let answer = invalidate(&client, "E1", "r1", &paths).await;
        assert_eq!(answer, refused(413, "BatchTooLarge"));
        assert!(
            invalidate(&client, "E1", "r2", &paths[..3_000])
                .await
                .is_ok()
        );
        assert_eq!(cloudfront.paths("E1").len(), 3_000);
    }

    #[tokio::test]
    async fn the_quantity_must_be_true() {
        let (cloudfront, client) = one_distribution().await;
        let answer = send(&client, "E1", batch("r1", 2, &["/one"])).await;
        assert_eq!(answer, refused(400, "InconsistentQuantities"));
        let answer = send(&client, "E1", batch("r1", 1, &[])).await;
        assert_eq!(answer, refused(400, "InconsistentQuantities"));
        assert!(cloudfront.invalidations("E1").is_empty());
    }

    #[tokio::test]
    async fn an_empty_batch_or_reference_is_refused() {
        let (_cloudfront, client) = one_distribution().await;
        let answer = send(&client, "E1", batch("r1", 0, &[])).await;
        assert_eq!(answer, refused(400, "InvalidArgument"));
        let answer = invalidate(&client, "E1", "", &["/a"]).await;
        assert_eq!(answer, refused(400, "InvalidArgument"));
    }

    #[tokio::test]
    async fn the_same_reference_and_paths_are_the_same_invalidation() {
        let (cloudfront, client) = one_distribution().await;
        let first = invalidate(&client, "E1", "r1", &["/a", "/b"]).await;
        let again = invalidate(&client, "E1", "r1", &["/a", "/b"]).await;
        assert_eq!(first.unwrap().id, again.unwrap().id);
        assert_eq!(cloudfront.paths("E1"), ["/a", "/b"]);
    }

    #[tokio::test]
    async fn the_same_reference_with_other_paths_is_refused() {
        let (cloudfront, client) = one_distribution().await;
        assert!(invalidate(&client, "E1", "r1", &["/a"]).await.is_ok());
        let answer = invalidate(&client, "E1", "r1", &["/a", "/b"]).await;
        assert_eq!(answer, refused(400, "InvalidationBatchAlreadyExists"));
        assert_eq!(cloudfront.paths("E1"), ["/a"]);
    }

    #[tokio::test]
    async fn a_reference_is_good_for_each_distribution() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.add(site("E2"));
        assert!(invalidate(&client, "E1", "r1", &["/a"]).await.is_ok());
        assert!(invalidate(&client, "E2", "r1", &["/b"]).await.is_ok());
    }

    #[tokio::test]
    async fn an_unknown_distribution_is_refused() {
        let (cloudfront, client) = one_distribution().await;
        let long = "E".repeat(1_000);
        for id in ["E2", "e1", "E1 ", "E1/../E1", "dt_1", "é", "E1\n", &long] {
            let answer = invalidate(&client, id, "r1", &["/a"]).await;
            assert_eq!(answer, refused(404, "NoSuchDistribution"), "{id:?}");
            let config = client.get_distribution_config().id(id).send().await;
            let refusal = refusal(&config.unwrap_err());
            assert_eq!(refusal, (404, "NoSuchDistribution".to_owned()), "{id:?}");
        }
        cloudfront.remove("E1");
        let answer = invalidate(&client, "E1", "r1", &["/a"]).await;
        assert_eq!(answer, refused(404, "NoSuchDistribution"));
    }

    #[tokio::test]
    async fn an_invalidation_is_in_progress_and_then_completed() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.stop_clock();
        cloudfront.set_completion_time(Duration::from_secs(5));
        let accepted = invalidate(&client, "E1", "r1", &["/a"]).await.unwrap();
        let look = client.get_invalidation().distribution_id("E1");
        let look = look.id(&accepted.id);
        let status = async || {
            let output = look.clone().send().await.unwrap();
            output.invalidation.unwrap().status
        };
        assert_eq!(status().await, "InProgress");
        cloudfront.advance(Duration::from_secs(5));
        assert_eq!(status().await, "Completed");

        let list = client.list_invalidations().distribution_id("E1");
        let list = list.send().await.unwrap().invalidation_list.unwrap();
        assert_eq!(list.items()[0].id, accepted.id);
        assert_eq!(list.items()[0].status, "Completed");
    }

    #[tokio::test]
    async fn an_unknown_invalidation_is_refused() {
        let (_cloudfront, client) = one_distribution().await;
        let call = client.get_invalidation().distribution_id("E1").id("I0");
        let error = call.send().await.unwrap_err();
        assert_eq!(refusal(&error), (404, "NoSuchInvalidation".to_owned()));
    }

    async fn listed(client: &Client, marker: Option<String>) -> InvalidationList {
        let call = client.list_invalidations().distribution_id("E1");
        let page = call.set_marker(marker).send().await.unwrap();
        page.invalidation_list.unwrap()
    }

    fn ids(list: &InvalidationList) -> Vec<String> {
        list.items().iter().map(|it| it.id.clone()).collect()
    }

    /// API Reference, "ListInvalidations": from most recent to oldest; a marker is the id of the last
    /// invalidation on the page before.
    #[tokio::test]
    async fn invalidations_are_listed_newest_first_in_pages_of_100() {
        let (cloudfront, client) = one_distribution().await;
        let day = |n: i64| OffsetDateTime::UNIX_EPOCH + time::Duration::days(n);
        let add = |n: i64| cloudfront.add_invalidation("E1", day(n), &format!("r{n}"), &["/a"]);
        let mut expected: Vec<_> = (0..205).map(add).collect();
        expected.reverse();

        let first = listed(&client, None).await;
        assert_eq!(ids(&first), expected[..100]);
        assert!(first.is_truncated);
        assert_eq!(first.next_marker.as_ref(), expected.get(99));
        // What is accepted meanwhile moves nothing to another page.
        invalidate(&client, "E1", "new", &["/a"]).await.unwrap();
        let second = listed(&client, first.next_marker).await;
        assert_eq!(ids(&second), expected[100..200]);
        let third = listed(&client, second.next_marker).await;
        assert_eq!(ids(&third), expected[200..]);
        assert!(!third.is_truncated);
        assert_eq!(third.next_marker, None);

        let oldest = third.items().last().unwrap();
        assert_eq!(oldest.status, "Completed");
        assert_eq!(oldest.create_time.secs(), 0);
        let look = client.get_invalidation().distribution_id("E1");
        let read = look.id(&oldest.id).send().await.unwrap().invalidation;
        let read = read.unwrap();
        assert_eq!(read.create_time, oldest.create_time);
        let batch = read.invalidation_batch.unwrap();
        assert_eq!(batch.caller_reference, "r0");
        assert_eq!(batch.paths.unwrap().quantity, 1);
    }

    #[tokio::test]
    async fn a_distribution_that_was_never_invalidated_has_a_list_without_items() {
        let (_cloudfront, client) = one_distribution().await;
        let list = listed(&client, None).await;
        assert_eq!((list.quantity, list.items), (0, None));
    }

    /// API Reference of 2013, "GET Invalidation List": "for the current and previous billing cycles".
    #[tokio::test]
    async fn old_invalidations_may_be_forgotten() {
        let (cloudfront, client) = one_distribution().await;
        let ago = |days: i64| OffsetDateTime::now_utc() - time::Duration::days(days);
        let old = cloudfront.add_invalidation("E1", ago(61), "r1", &["/a"]);
        let known = cloudfront.add_invalidation("E1", ago(59), "r2", &["/a"]);
        assert_eq!(ids(&listed(&client, None).await), [&*known, &*old]);
        cloudfront.set_history(Duration::from_secs(60 * 86_400));
        assert_eq!(ids(&listed(&client, None).await), [known]);
        let look = client.get_invalidation().distribution_id("E1").id(old);
        let error = look.send().await.unwrap_err();
        assert_eq!(refusal(&error), (404, "NoSuchInvalidation".to_owned()));
    }

    #[tokio::test]
    async fn paths_and_wildcards_in_progress_are_limited_apart() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.add(site("E2"));
        cloudfront.stop_clock();
        cloudfront.set_completion_time(Duration::from_secs(60));
        cloudfront.limit_in_progress_to(3, 1);
        let too_many = refused(400, "TooManyInvalidationsInProgress");

        assert!(invalidate(&client, "E1", "1", &["/a", "/b"]).await.is_ok());
        assert_eq!(
            invalidate(&client, "E1", "2", &["/c", "/d"]).await,
            too_many
        );
        assert!(invalidate(&client, "E1", "3", &["/c", "/*"]).await.is_ok());
        assert_eq!(invalidate(&client, "E1", "4", &["/x/*"]).await, too_many);
        // Each distribution has its own references, and an old reference creates nothing new.
        assert!(invalidate(&client, "E2", "4", &["/x/*"]).await.is_ok());
        assert!(invalidate(&client, "E1", "1", &["/a", "/b"]).await.is_ok());

        cloudfront.advance(Duration::from_secs(60));
        assert!(invalidate(&client, "E1", "4", &["/x/*"]).await.is_ok());
    }
}

mod lists {
    use super::*;

    async fn listed(client: &Client) -> Vec<aws_sdk_cloudfront::types::DistributionSummary> {
        let mut pages = client.list_distributions().into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let list = page.unwrap().distribution_list.unwrap();
            assert_eq!(list.quantity as usize, list.items().len());
            listed.extend(list.items.unwrap_or_default());
        }
        listed
    }

    #[tokio::test]
    async fn distributions_come_in_pages_of_100() {
        let cloudfront = CloudFront::start().await.unwrap();
        let ids: Vec<_> = (0..126).map(|n| format!("E{n:04}")).collect();
        ids.iter().for_each(|id| cloudfront.add(site(id)));
        let client = client_at(&cloudfront.endpoint_url());
        let listed: Vec<_> = listed(&client).await.into_iter().map(|it| it.id).collect();
        assert_eq!(listed, ids);
        assert_eq!(cloudfront.calls_of(Operation::ListDistributions).len(), 2);

        // Even if a larger page is requested.
        let list = client.list_distributions().max_items(1_000).send().await;
        let list = list.unwrap().distribution_list.unwrap();
        assert!(list.is_truncated);
        assert_eq!(list.next_marker.as_deref(), Some("E0099"));
        assert_eq!(list.items().len(), 100);
    }

    #[tokio::test]
    async fn cache_policies_come_in_pages_of_100() {
        let cloudfront = CloudFront::start().await.unwrap();
        for n in 0..150 {
            cloudfront.add_cache_policy(CachePolicy::new(&format!("p{n}"), 0, 60, 60));
        }
        let client = client_at(&cloudfront.endpoint_url());
        let call = client.list_cache_policies().send().await.unwrap();
        let first = call.cache_policy_list.unwrap();
        let call = client
            .list_cache_policies()
            .set_marker(first.next_marker.clone());
        let rest = call.send().await.unwrap().cache_policy_list.unwrap();
        assert_eq!(
            (first.items().len(), rest.items().len()),
            (100, 52),
            "two are managed"
        );
        assert_eq!(rest.next_marker, None);
    }

    #[tokio::test]
    async fn exactly_one_page_is_not_truncated() {
        let cloudfront = CloudFront::start().await.unwrap();
        (0..100).for_each(|n| cloudfront.add(site(&format!("E{n}"))));
        assert_eq!(
            listed(&client_at(&cloudfront.endpoint_url())).await.len(),
            100
        );
        assert_eq!(cloudfront.calls().len(), 1);
    }

    #[tokio::test]
    async fn an_account_may_have_no_distributions() {
        let cloudfront = CloudFront::start().await.unwrap();
        assert!(
            listed(&client_at(&cloudfront.endpoint_url()))
                .await
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_distribution_tells_its_origins_and_behaviors_in_order() {
        let cloudfront = CloudFront::start().await.unwrap();
        cloudfront.add(
            site("E1")
                .origin(Origin::s3("docs", "example-site").path("/docs"))
                .origin(Origin::new("app", "app.example.com"))
                .origin_group("both", ["site", "docs"])
                .behavior(Behavior::new("/api/*", "app").policy(CACHING_DISABLED))
                .behavior(
                    Behavior::new("*.jpg", "both")
                        .legacy(0, 60, 3_600)
                        .forward_query_strings(&["v"])
                        .forward_headers(&["Host"]),
                )
                .default_behavior(Behavior::default_for("docs").legacy(None, None, None)),
        );
        let listed = listed(&client_at(&cloudfront.endpoint_url())).await;
        let [distribution] = &listed[..] else {
            panic!("{listed:?}");
        };
        let origins = distribution.origins.as_ref().unwrap().items();
        let origins: Vec<_> = origins
            .iter()
            .map(|it| (it.id(), it.domain_name(), it.origin_path().unwrap()))
            .collect();
        let domain = "example-site.s3.ap-northeast-2.amazonaws.com";
        assert_eq!(
            origins,
            [
                ("site", domain, ""),
                ("docs", domain, "/docs"),
                ("app", "app.example.com", ""),
            ]
        );
        let group = &distribution.origin_groups.as_ref().unwrap().items()[0];
        let members = group.members.as_ref().unwrap().items();
        assert_eq!(members[0].origin_id(), "site");
        assert_eq!(members[1].origin_id(), "docs");

        let behaviors = distribution.cache_behaviors.as_ref().unwrap().items();
        assert_eq!(behaviors[0].path_pattern(), "/api/*");
        assert_eq!(behaviors[0].cache_policy_id(), Some(CACHING_DISABLED));
        assert_eq!(behaviors[1].path_pattern(), "*.jpg");
        assert_eq!(behaviors[1].cache_policy_id(), None);
        #[allow(deprecated)]
        {
            assert_eq!(behaviors[1].max_ttl(), Some(3_600));
            let forwarded = behaviors[1].forwarded_values().unwrap();
            assert!(forwarded.query_string());
            assert_eq!(forwarded.headers().unwrap().items(), ["Host"]);
            let default = distribution.default_cache_behavior.as_ref().unwrap();
            assert_eq!(default.target_origin_id(), "docs");
            assert_eq!(default.max_ttl(), None);
        }
    }

    #[tokio::test]
    async fn an_empty_list_of_behaviors_has_no_items() {
        let (cloudfront, client) = one_distribution().await;
        let listed = listed(&client).await;
        let behaviors = listed[0].cache_behaviors.as_ref().unwrap();
        assert_eq!((behaviors.quantity, &behaviors.items), (0, &None));
        assert!(listed[0].enabled);
        assert!(!listed[0].staging);
        assert_eq!(listed[0].connection_mode, Some(ConnectionMode::Direct));
        drop(cloudfront);
    }

    #[tokio::test]
    async fn disabled_staging_and_multi_tenant_distributions_say_so() {
        let cloudfront = CloudFront::start().await.unwrap();
        cloudfront.add(site("E1").disabled());
        cloudfront.add(site("E2").staging());
        cloudfront.add(site("E3").tenant_only());
        let listed = listed(&client_at(&cloudfront.endpoint_url())).await;
        assert!(!listed[0].enabled);
        assert!(listed[1].staging);
        assert_eq!(listed[2].connection_mode, Some(ConnectionMode::TenantOnly));
    }

    #[tokio::test]
    async fn errors_have_pages_and_times_or_their_defaults() {
        let (cloudfront, client) = one_distribution().await;
        let app = site("E2").error_page(403, "/index.html", 1_800);
        cloudfront.add(app.error_page(404, "", 0).error_page(500, "", None));
        let listed = listed(&client).await;
        let errors = |of: usize| listed[of].custom_error_responses.as_ref().unwrap();
        assert_eq!((errors(0).quantity, &errors(0).items), (0, &None));
        let told: Vec<_> = errors(1)
            .items()
            .iter()
            .map(|it| (it.error_code, it.response_page_path().unwrap_or_default()))
            .collect();
        assert_eq!(told, [(403, "/index.html"), (404, ""), (500, "")]);
        let times = errors(1).items().iter().map(|it| it.error_caching_min_ttl);
        let times: Vec<_> = times.collect();
        assert_eq!(times, [Some(1_800), Some(0), None]);
    }

    #[tokio::test]
    async fn the_etag_changes_with_the_distribution() {
        let (cloudfront, client) = one_distribution().await;
        let before = listed(&client).await[0].e_tag.clone();
        cloudfront.add(site("E1").disabled());
        assert_ne!(before, listed(&client).await[0].e_tag);
    }

    #[tokio::test]
    async fn only_the_configuration_tells_the_default_root_object() {
        let cloudfront = CloudFront::start().await.unwrap();
        cloudfront.add(site("E1").default_root_object("index.html"));
        let client = client_at(&cloudfront.endpoint_url());
        let config = client.get_distribution_config().id("E1").send().await;
        let config = config.unwrap();
        assert!(config.e_tag.is_some());
        let config = config.distribution_config.unwrap();
        assert_eq!(config.default_root_object.as_deref(), Some("index.html"));

        let error = client.get_distribution_config().id("E2").send().await;
        let refusal = refusal(&error.unwrap_err());
        assert_eq!(refusal, (404, "NoSuchDistribution".to_owned()));
    }

    #[tokio::test]
    async fn cache_policies_tell_their_ttls_and_query_strings() {
        let cloudfront = CloudFront::start().await.unwrap();
        let names = QueryStrings::Whitelist(vec!["v".to_owned()]);
        cloudfront.add_cache_policy(CachePolicy::new("P1", 0, 60, 600).query_strings(names));
        cloudfront.add_cache_policy(CachePolicy::new("P2", 5, None, None));
        let client = client_at(&cloudfront.endpoint_url());
        for (id, min, default, max, query_strings) in [
            ("P1", 0, Some(60), Some(600), "whitelist"),
            ("P2", 5, None, None, "none"),
            (CACHING_OPTIMIZED, 1, Some(86_400), Some(31_536_000), "none"),
            (CACHING_DISABLED, 0, Some(0), Some(0), "none"),
        ] {
            let output = client.get_cache_policy().id(id).send().await.unwrap();
            let config = output.cache_policy.unwrap().cache_policy_config.unwrap();
            assert_eq!(config.min_ttl, min);
            assert_eq!(config.default_ttl, default);
            assert_eq!(config.max_ttl, max);
            let key = config.parameters_in_cache_key_and_forwarded_to_origin;
            let behavior = key.unwrap().query_strings_config.unwrap();
            assert_eq!(behavior.query_string_behavior.as_str(), query_strings);
        }
        let error = client.get_cache_policy().id("P3").send().await;
        let refusal = refusal(&error.unwrap_err());
        assert_eq!(refusal, (404, "NoSuchCachePolicy".to_owned()));

        let list = client.list_cache_policies().send().await.unwrap();
        let list = list.cache_policy_list.unwrap();
        assert_eq!(list.items().len(), 4);
        assert_eq!(list.items()[2].r#type.as_str(), "custom");
    }
}

mod tenants {
    use super::*;

    async fn two_tenants() -> (CloudFront, Client) {
        let cloudfront = CloudFront::start().await.unwrap();
        cloudfront.add(site("E1").tenant_only());
        cloudfront.add(site("E2").tenant_only());
        cloudfront.add_tenant("E1", "dt_1", true);
        cloudfront.add_tenant("E1", "dt_2", false);
        cloudfront.add_tenant("E2", "dt_3", true);
        let client = client_at(&cloudfront.endpoint_url());
        (cloudfront, client)
    }

    #[tokio::test]
    async fn tenants_are_listed_for_their_distribution() {
        let (_cloudfront, client) = two_tenants().await;
        let of = |id: &str| {
            let filter = DistributionTenantAssociationFilter::builder().distribution_id(id);
            let call = client.list_distribution_tenants();
            call.association_filter(filter.build())
        };
        let output = of("E1").send().await.unwrap();
        let tenants = output.distribution_tenant_list();
        let tenants: Vec<_> = tenants.iter().map(|it| (it.id(), it.enabled)).collect();
        assert_eq!(tenants, [("dt_1", Some(true)), ("dt_2", Some(false))]);

        let first = of("E1").max_items(1).send().await.unwrap();
        let marker = first.next_marker.unwrap();
        let second = of("E1").marker(marker).send().await.unwrap();
        assert_eq!(second.distribution_tenant_list()[0].id(), "dt_2");
        assert_eq!(second.next_marker, None);

        let error = of("E9").send().await.unwrap_err();
        assert_eq!(refusal(&error), (404, "EntityNotFound".to_owned()));
        let all = client.list_distribution_tenants().send().await.unwrap();
        assert_eq!(all.distribution_tenant_list().len(), 3);
    }

    #[tokio::test]
    async fn a_tenant_is_invalidated_by_itself() {
        let (cloudfront, client) = two_tenants().await;
        let call = client.create_invalidation_for_distribution_tenant();
        let call = call.invalidation_batch(batch("r1", 1, &["/a"]));
        let accepted = call.clone().id("dt_1").send().await.unwrap();
        let id = accepted.invalidation.unwrap().id;
        assert_eq!(cloudfront.paths("dt_1"), ["/a"]);
        assert!(cloudfront.paths("E1").is_empty());

        let look = client.get_invalidation_for_distribution_tenant();
        let look = look.distribution_tenant_id("dt_1").id(&id).send().await;
        assert_eq!(look.unwrap().invalidation.unwrap().status, "Completed");
        let list = async |tenant: &str| {
            let call = client.list_invalidations_for_distribution_tenant();
            let list = call.id(tenant).send().await.unwrap().invalidation_list;
            let items = list.unwrap().items.into_iter().flatten();
            items.map(|it| it.id).collect::<Vec<_>>()
        };
        assert_eq!(list("dt_1").await, [id]);
        assert!(list("dt_2").await.is_empty());

        for id in ["dt_9", "DT_1", "dt_1 ", "1", "E1", "dt_1/../dt_1"] {
            let error = call.clone().id(id).send().await.unwrap_err();
            assert_eq!(refusal(&error), (404, "EntityNotFound".to_owned()), "{id}");
        }
    }

    #[tokio::test]
    async fn a_tenant_is_found_by_its_name_and_not_invalidated_by_it() {
        let (_cloudfront, client) = two_tenants().await;
        for identifier in ["dt_1", "1"] {
            let call = client.get_distribution_tenant().identifier(identifier);
            let tenant = call.send().await.unwrap().distribution_tenant.unwrap();
            assert_eq!((tenant.id(), tenant.name()), (Some("dt_1"), Some("1")));
        }
        for identifier in ["dt_9", "dt_1 ", "E1"] {
            let call = client.get_distribution_tenant().identifier(identifier);
            let error = call.send().await.unwrap_err();
            assert_eq!(refusal(&error), (404, "EntityNotFound".to_owned()));
        }
    }

    #[tokio::test]
    #[should_panic(expected = "is no id of a distribution")]
    async fn an_account_has_no_distribution_with_an_id_that_cloudfront_does_not_give() {
        let cloudfront = CloudFront::start().await.unwrap();
        cloudfront.add(site("e-1"));
    }

    #[tokio::test]
    async fn a_multi_tenant_distribution_is_not_invalidated_itself() {
        let (_cloudfront, client) = two_tenants().await;
        let answer = invalidate(&client, "E1", "r1", &["/a"]).await;
        assert_eq!(answer, refused(400, "InvalidArgument"));
        let tenant = client.get_distribution_tenant().identifier("dt_2");
        let tenant = tenant.send().await.unwrap().distribution_tenant.unwrap();
        assert_eq!(tenant.distribution_id(), Some("E1"));
    }
}

mod access {
    use super::*;
    use strict_cloudfront::rules::check_authorization;

    #[tokio::test]
    async fn an_unsigned_request_is_refused() {
        let (cloudfront, client) = one_distribution().await;
        let unsigned = aws_sdk_cloudfront::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(client.config().http_client().unwrap())
            .endpoint_url(cloudfront.endpoint_url())
            .region(Region::new("us-east-1"))
            .allow_no_auth()
            .build();
        let error = Client::from_conf(unsigned).list_distributions().send();
        assert_eq!(
            refusal(&error.await.unwrap_err()),
            (403, "MissingAuthenticationToken".to_owned())
        );
        assert_eq!(cloudfront.calls()[0].status, Some(403));
    }

    #[test]
    fn a_signature_for_another_service_is_refused() {
        let signature = |service| {
            format!(
                "AWS4-HMAC-SHA256 Credential=AKID/20261121/us-east-1/{service}/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature=0123"
            )
        };
        assert!(check_authorization(Some(&signature("cloudfront"))).is_ok());
        let refusal = check_authorization(Some(&signature("s3"))).unwrap_err();
        assert_eq!(refusal.code, "SignatureDoesNotMatch");
    }
}

mod malformed {
    use strict_cloudfront::rules::Batch;

    fn code(body: &str) -> String {
        Batch::read(body.as_bytes()).unwrap_err().code
    }

    #[test]
    fn a_body_that_is_no_invalidation_batch_is_refused() {
        assert_eq!(code(""), "MissingBody");
        for body in [
            "{}",
            "<InvalidationBatch>",
            "<Other/>",
            "<InvalidationBatch/>",
            "<InvalidationBatch><Paths/><CallerReference>r</CallerReference></InvalidationBatch>",
        ] {
            assert_eq!(code(body), "MalformedInput", "{body}");
        }
    }

    #[test]
    fn entities_and_white_space_are_part_of_a_path() {
        let body = "<InvalidationBatch xmlns=\"x\"><Paths><Quantity>2</Quantity>\n <Items>\
                    <Path>/a&amp;b&#x27;c&lt;</Path><Path> /a </Path></Items></Paths>\
                    <CallerReference>r&apos;1</CallerReference></InvalidationBatch>";
        let batch = Batch::read(body.as_bytes()).unwrap();
        assert_eq!(batch.paths, ["/a&b'c<", " /a "]);
        assert_eq!(batch.caller_reference, "r'1");
    }
}

mod faults {
    use super::*;

    #[tokio::test]
    async fn each_refusal_has_its_status_and_code() {
        let (cloudfront, client) = one_distribution().await;
        let odd = Fault::Refuse {
            status: 418,
            code: "Teapot".to_owned(),
            message: "short and stout".to_owned(),
        };
        for (fault, status, code) in [
            (Fault::Throttling, 400, "Throttling"),
            (
                Fault::TooManyInvalidationsInProgress,
                400,
                "TooManyInvalidationsInProgress",
            ),
            (Fault::AccessDenied, 403, "AccessDenied"),
            (Fault::NoSuchDistribution, 404, "NoSuchDistribution"),
            (Fault::InternalError, 500, "InternalError"),
            (Fault::ServiceUnavailable, 503, "ServiceUnavailable"),
            (odd, 418, "Teapot"),
        ] {
            cloudfront.fail_next(fault, 1);
            let answer = invalidate(&client, "E1", "r1", &["/a"]).await;
            assert_eq!(answer, refused(status, code));
        }
        assert!(cloudfront.invalidations("E1").is_empty());
        assert!(invalidate(&client, "E1", "r1", &["/a"]).await.is_ok());
    }

    #[tokio::test]
    async fn a_fault_may_be_for_one_distribution_and_one_operation() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.add(site("E2"));
        let create = Operation::CreateInvalidation;
        cloudfront.fail(Fault::AccessDenied.always().on(create).of("E2"));
        for reference in ["1", "2"] {
            assert!(invalidate(&client, "E1", reference, &["/a"]).await.is_ok());
            let answer = invalidate(&client, "E2", reference, &["/a"]).await;
            assert_eq!(answer, refused(403, "AccessDenied"));
        }
        let config = client.get_distribution_config().id("E2");
        assert!(config.send().await.is_ok());
        cloudfront.heal();
        assert!(invalidate(&client, "E2", "3", &["/a"]).await.is_ok());
    }

    #[tokio::test]
    async fn a_fault_may_wait_for_a_later_call() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.fail(Fault::InternalError.times(1).after(1));
        assert!(invalidate(&client, "E1", "1", &["/a"]).await.is_ok());
        let answer = invalidate(&client, "E1", "2", &["/a"]).await;
        assert_eq!(answer, refused(500, "InternalError"));
        assert!(invalidate(&client, "E1", "2", &["/a"]).await.is_ok());
    }

    #[tokio::test]
    async fn a_call_may_take_effect_and_still_fail() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.fail(Fault::InternalError.times(1).after_it_took_effect());
        let answer = invalidate(&client, "E1", "r1", &["/a"]).await;
        assert_eq!(answer, refused(500, "InternalError"));
        assert_eq!(cloudfront.paths("E1"), ["/a"]);
        // The same reference makes trying again harmless.
        assert!(invalidate(&client, "E1", "r1", &["/a"]).await.is_ok());
        assert_eq!(cloudfront.paths("E1"), ["/a"]);
    }

    #[tokio::test]
    async fn a_call_that_hangs_ends_with_the_clients_patience() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.fail_next(Fault::Hang, 1);
        let patience = TimeoutConfig::builder().operation_timeout(Duration::from_millis(200));
        let config = client.config().to_builder();
        let hasty = Client::from_conf(config.timeout_config(patience.build()).build());
        let error = hasty.list_distributions().send().await.unwrap_err();
        assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
        assert_eq!(cloudfront.calls()[0].status, None);
    }

    #[tokio::test]
    async fn a_connection_may_break_off() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.fail(Fault::BreakOff.times(1).after_it_took_effect());
        let call = client.create_invalidation().distribution_id("E1");
        let call = call.invalidation_batch(batch("r1", 1, &["/a"]));
        let error = call.send().await.unwrap_err();
        assert!(error.code().is_none(), "{error:?}");
        assert_eq!(cloudfront.paths("E1"), ["/a"]);
    }

    #[tokio::test]
    async fn an_answer_may_be_late() {
        let (cloudfront, client) = one_distribution().await;
        let late = Duration::from_millis(150);
        cloudfront.fail_next(Fault::Late(late), 1);
        let before = std::time::Instant::now();
        assert!(invalidate(&client, "E1", "r1", &["/a"]).await.is_ok());
        assert!(before.elapsed() >= late);
    }

    /// The product relies on this: the SDK retries `Throttling` and 5xx, but not
    /// `TooManyInvalidationsInProgress`.
    #[tokio::test]
    async fn the_sdk_tries_some_refusals_again() {
        for (fault, attempts) in [
            (Fault::Throttling, 3),
            (Fault::InternalError, 3),
            (Fault::ServiceUnavailable, 3),
            (Fault::TooManyInvalidationsInProgress, 1),
            (Fault::AccessDenied, 1),
        ] {
            let (cloudfront, client) = one_distribution().await;
            cloudfront.fail(fault.clone());
            let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
            let config = client.config().to_builder().retry_config(retries);
            let stubborn = Client::from_conf(config.build());
            let answer = invalidate(&stubborn, "E1", "r1", &["/a"]).await;
            assert!(answer.is_err());
            assert_eq!(cloudfront.calls().len(), attempts, "{fault:?}");
        }
    }
}

mod rates {
    use super::*;
    use strict_cloudfront::rate::{Rates, TokenBucket};

    #[tokio::test]
    async fn calls_above_the_rate_are_throttled_until_time_passes() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.stop_clock();
        cloudfront.set_rate(0.5, 2.0);
        let throttled = refused(400, "Throttling");
        assert!(invalidate(&client, "E1", "1", &["/1"]).await.is_ok());
        assert!(invalidate(&client, "E1", "2", &["/2"]).await.is_ok());
        assert_eq!(invalidate(&client, "E1", "3", &["/3"]).await, throttled);
        cloudfront.advance(Duration::from_secs(1));
        assert_eq!(invalidate(&client, "E1", "3", &["/3"]).await, throttled);
        cloudfront.advance(Duration::from_secs(1));
        assert!(invalidate(&client, "E1", "3", &["/3"]).await.is_ok());
        assert!(client.list_distributions().send().await.is_ok());
    }

    #[test]
    fn reading_has_a_rate_of_its_own() {
        let mut rates = Rates {
            reads: Some(TokenBucket::new(1.0, 2.0)),
            ..Rates::default()
        };
        let mut reads = |at| (0..10).filter(|_| rates.allow_read(at)).count();
        assert_eq!(reads(Duration::ZERO), 2);
        assert_eq!(reads(Duration::from_secs(1)), 1);
        assert!(rates.allow(1, 0, Duration::from_secs(1)));
    }

    /// The rates of `ListInvalidations` and `GetInvalidation` are not published.
    #[tokio::test]
    async fn lists_of_invalidations_above_the_rate_of_reading_are_throttled() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.stop_clock();
        cloudfront.set_read_rate(1.0, 2.0);
        let list = client.list_invalidations().distribution_id("E1");
        let look = client.get_invalidation().distribution_id("E1").id("I1");
        assert!(list.clone().send().await.is_ok());
        let unknown = look.clone().send().await.unwrap_err();
        assert_eq!(refusal(&unknown), (404, "NoSuchInvalidation".to_owned()));
        let throttled = (400, "Throttling".to_owned());
        assert_eq!(refusal(&list.clone().send().await.unwrap_err()), throttled);
        assert_eq!(refusal(&look.send().await.unwrap_err()), throttled);
        cloudfront.advance(Duration::from_secs(1));
        assert!(list.send().await.is_ok());
        assert!(invalidate(&client, "E1", "1", &["/1"]).await.is_ok());
    }

    #[tokio::test]
    async fn a_batch_above_the_path_rate_gets_through_in_halves() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.stop_clock();
        cloudfront.set_path_rate(2.0, 2.0);
        cloudfront.set_wildcard_rate(1.0, 1.0);
        let throttled = refused(400, "Throttling");
        let paths = ["/1", "/2", "/3"];
        assert_eq!(invalidate(&client, "E1", "1", &paths).await, throttled);
        assert!(invalidate(&client, "E1", "2", &paths[..2]).await.is_ok());
        assert!(invalidate(&client, "E1", "3", &["/*"]).await.is_ok());
        assert_eq!(invalidate(&client, "E1", "4", &["/x*"]).await, throttled);
        cloudfront.advance(Duration::from_secs(1));
        assert!(invalidate(&client, "E1", "5", &paths[2..]).await.is_ok());
        assert!(invalidate(&client, "E1", "4", &["/x*"]).await.is_ok());
    }

    #[tokio::test]
    async fn calls_at_the_same_time_are_counted() {
        let (cloudfront, client) = one_distribution().await;
        cloudfront.add(site("E2"));
        cloudfront.set_latency(Duration::from_millis(100));
        let (one, two, three) = tokio::join!(
            invalidate(&client, "E1", "1", &["/a"]),
            invalidate(&client, "E1", "2", &["/a"]),
            invalidate(&client, "E2", "3", &["/a"]),
        );
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!(cloudfront.most_in_flight(), 3);
        assert_eq!(cloudfront.most_in_flight_of("E1"), 2);
        assert_eq!(cloudfront.most_in_flight_of("E2"), 1);
    }
}
