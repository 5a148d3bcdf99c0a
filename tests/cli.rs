//! `invalidatorctl`, run as its users run it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Output};

const FILES: [&str; 6] = [
    "--distributions",
    "events/distributions.json",
    "--cache-policies",
    "events/cache-policies.json",
    "--bucket-tags",
    "events/bucket-tags.json",
];

fn plan(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("plan")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_plan_shows_each_change_its_reasons_and_the_sets() {
    let output = plan(&[&["events/s3-many-records.json"][..], &FILES].concat());
    assert!(output.status.success());
    insta::assert_snapshot!(text(output.stdout));
}

#[test]
fn special_keys_are_shown_decoded_and_their_paths_encoded() {
    let output = plan(
        &[
            &[
                "events/s3-special-keys.json",
                "--distribution-ids",
                "E1WWWEXAMPLE01",
            ][..],
            &FILES,
        ]
        .concat(),
    );
    assert!(output.status.success());
    insta::assert_snapshot!(text(output.stdout));
}

#[test]
fn a_plan_is_json_for_machines() {
    let output = plan(
        &[
            &[
                "events/s3-put.json",
                "events/s3-ignored.json",
                "--output",
                "json",
            ][..],
            &FILES,
        ]
        .concat(),
    );
    assert!(output.status.success());
    insta::assert_snapshot!(text(output.stdout));
}

#[test]
fn every_sample_event_is_read() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/events")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let is_event = ["s3-", "sns", "sqs", "eventbridge"]
            .iter()
            .any(|start| name.starts_with(start));
        if is_event {
            let output = plan(&[&[file.to_str().unwrap()][..], &FILES].concat());
            assert!(output.status.success(), "{name}: {}", text(output.stdout));
        }
    }
}

#[test]
fn without_tags_nothing_is_excepted_and_without_policies_they_are_taken_to_cache() {
    let output = plan(&[
        "events/s3-many-records.json",
        "--distributions",
        "events/distributions.json",
    ]);
    let shown = text(output.stdout);
    assert!(!shown.contains("excepted:"), "{shown}");
    assert!(shown.contains("is not known, so taken to cache"), "{shown}");
}

#[test]
fn bad_input_is_named() {
    for (arguments, expected) in [
        (
            vec![
                "events/none.json",
                "--distributions",
                "events/distributions.json",
            ],
            "events/none.json",
        ),
        (
            vec!["events/s3-put.json", "--distributions", "Cargo.toml"],
            "Cargo.toml is not what `aws cloudfront list-distributions` prints",
        ),
        (
            vec![
                "events/s3-put.json",
                "--distributions",
                "events/distributions.json",
                "--bucket-tags",
                "events/s3-put.json",
            ],
            "is not what `aws s3api get-bucket-tagging` prints",
        ),
        (
            vec![
                "events/s3-put.json",
                "--distributions",
                "events/distributions.json",
                "--origin-buckets",
                "x",
            ],
            "ALIAS=BUCKET",
        ),
    ] {
        let output = plan(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let error = text(output.stderr);
        assert!(error.contains(expected), "{error}");
    }
    let output = plan(&["Cargo.toml", "--distributions", "events/distributions.json"]);
    assert!(!output.status.success());
    assert!(
        text(output.stdout).contains("unreadable: Cargo.toml: the event: not readable as JSON")
    );
}
