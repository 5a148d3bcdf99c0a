//! Histories in which a rule that is too simple serves something stale. Each is told twice: as it is, and with
//! the fact hidden that closes the hole. The second time somebody must get a stale answer, or the hole would
//! not be there.

use invalidator_core::cost::ledger::Distrust;
use invalidator_core::cost::skip::{Decision, Finding, WhyNot, facts};

use super::product::Lie;
use super::run::{Fate, Mode, Run};
use super::tape::Tape;
use super::world::{Class, DAY, HOUR, Object, PLAIN, Versioning};

const A: Object = PLAIN;
const B: Object = Object { body: 'B', ..PLAIN };
const REJECTED: Option<Fate> = Some(Fate {
    after: 0,
    is_accepted: false,
});

type Script = fn(&mut Run<'_>);

fn told(script: Script, lie: Option<Lie>) -> (Option<Decision>, Option<String>, String) {
    let mut run = Run::new(Tape::new(&[]), lie, true);
    script(&mut run);
    let last = run.decisions.last().cloned();
    run.finish();
    let story = run.story();
    (last, run.violation, story)
}

/// The last decision of the history, in which nothing may be stale.
fn last(script: Script) -> Decision {
    let (last, violation, story) = told(script, None);
    assert_eq!(violation, None, "{story}");
    last.expect("a decision")
}

fn is_stale(script: Script, lie: Lie) {
    let (_, violation, story) = told(script, Some(lie));
    assert!(violation.is_some(), "{lie:?}: nothing is stale\n{story}");
}

/// A history whose last upload must be invalidated for this reason.
fn hole(script: Script, lie: Lie, why: WhyNot) {
    assert_eq!(last(script), Decision::Invalidate(why));
    is_stale(script, lie);
}

/// The object is `A` for days, and the target is trusted.
fn trusted(run: &mut Run<'_>) {
    run.had(A, 5 * DAY);
    run.trust();
    run.wait(60);
}

/// An upload, and its flush.
fn put(run: &mut Run<'_>, object: Object) {
    run.put(object, 0);
    run.wait(20);
}

fn unchanged(versions: usize) -> impl Fn(&Decision) -> bool {
    move |decision| matches!(decision, Decision::Skip { because: Finding::Unchanged { versions: n, .. }, .. } if *n == versions)
}

fn lost(why: &str) -> WhyNot {
    WhyNot::NotTrusted(Distrust::Lost(why.to_owned()))
}

#[test]
fn what_is_uploaded_again_is_skipped() {
    assert!(unchanged(2)(&last(|run| {
        trusted(run);
        put(run, A);
    })));
    // A minute later again: the first upload is too young, so it is compared, too.
    assert!(unchanged(3)(&last(|run| {
        trusted(run);
        put(run, A);
        run.wait(60);
        put(run, A);
    })));
}

#[test]
fn a_first_upload_is_skipped() {
    let skipped = last(|run| {
        run.trust();
        run.wait(60);
        put(run, A);
    });
    let expected = Decision::Skip {
        because: Finding::FirstUpload,
        paths: 1,
    };
    assert_eq!(skipped, expected);
}

#[test]
fn metadata_that_only_a_tool_changes_is_no_change() {
    assert!(unchanged(2)(&last(|run| {
        trusted(run);
        put(run, Object { mtime: 1, ..A });
    })));
}

#[test]
fn a_version_is_not_compared_with_itself() {
    let script: Script = |run| {
        trusted(run);
        put(run, B);
    };
    let lie = Lie::VersionsAreComparedWithThemselves;
    hole(script, lie, WhyNot::OtherContent);
    is_stale(script, Lie::ContentIsTheSame);
}

#[test]
fn a_change_that_was_rejected_on_monday_and_is_uploaded_again_on_tuesday() {
    hole(
        |run| {
            trusted(run);
            run.fate = REJECTED;
            put(run, B);
            run.wait(DAY);
            put(run, B);
        },
        Lie::NothingIsRejected,
        lost("paths were rejected"),
    );
}

#[test]
fn an_origin_that_moved_to_a_new_bucket() {
    hole(
        |run| {
            run.world.config.is_ours = false;
            run.trust();
            run.wait(60);
            run.configure(0, |config| config.is_ours = true);
            run.wait(60);
            put(run, A);
        },
        Lie::ConfigurationIsTheSame,
        WhyNot::NotTrusted(Distrust::Reconfigured),
    );
}

#[test]
fn an_edge_that_still_has_the_old_origin() {
    let script: Script = |run| {
        run.had(A, 5 * DAY);
        run.world.config.is_ours = false;
        run.trust();
        run.wait(60);
        run.configure(3_000, |config| config.is_ours = true);
        run.wait(60);
        put(run, A);
        run.wait(1_000);
        put(run, A);
        run.wait(4_000);
        put(run, A);
    };
    assert!(matches!(
        last(script),
        Decision::Invalidate(WhyNot::NotTrusted(_))
    ));
    is_stale(script, Lie::DeployedAtOnce);
}

#[test]
fn a_dry_run_before() {
    hole(
        |run| {
            trusted(run);
            run.set_mode(Mode::DryRun);
            put(run, B);
            run.wait(2 * HOUR);
            run.set_mode(Mode::Live);
            put(run, B);
        },
        Lie::NoDryRun,
        lost("a dry run"),
    );
}

#[test]
fn an_exception_before() {
    let script: Script = |run| {
        trusted(run);
        run.set_excepted(true);
        run.wait(2 * HOUR);
        put(run, B);
        run.wait(2 * HOUR);
        run.set_excepted(false);
        run.wait(2 * HOUR);
        put(run, B);
    };
    last(script);
    is_stale(script, Lie::RulesAreTheSame);
}

#[test]
fn a_distribution_that_was_disabled_before() {
    hole(
        |run| {
            trusted(run);
            run.configure(0, |config| config.is_enabled = false);
            put(run, B);
            run.wait(2 * HOUR);
            run.configure(0, |config| config.is_enabled = true);
            run.wait(60);
            put(run, B);
        },
        Lie::ConfigurationIsTheSame,
        WhyNot::NotTrusted(Distrust::Reconfigured),
    );
}

#[test]
fn paths_that_wait() {
    hole(
        |run| {
            trusted(run);
            run.fate = Some(Fate {
                after: 3 * HOUR,
                is_accepted: false,
            });
            put(run, B);
            run.wait(2 * HOUR);
            put(run, B);
        },
        Lie::NothingWaits,
        lost("paths have been waiting for 20 minutes"),
    );
}

#[test]
fn a_private_acl_on_the_same_bytes() {
    hole(
        |run| {
            run.world.bucket.owner_enforced = false;
            trusted(run);
            put(run, Object { private: true, ..A });
        },
        Lie::OwnerIsEnforced,
        WhyNot::Acls,
    );
}

#[test]
fn a_then_b_then_a() {
    hole(
        |run| {
            trusted(run);
            run.put(B, 0);
            run.wait(3);
            put(run, A);
        },
        Lie::OnlyBaseAndCurrentCount,
        WhyNot::OtherContent,
    );
}

#[test]
fn a_then_b_then_a_with_b_removed_for_good() {
    let script: Script = |run| {
        trusted(run);
        run.put(B, 0);
        run.wait(3);
        // That of the removal comes late.
        run.delay = Some(600);
        run.remove(0);
        run.delay = None;
        put(run, A);
    };
    hole(script, Lie::UnlistedVersionsDoNotCount, WhyNot::VersionGone);
    let together: Script = |run| {
        trusted(run);
        put(run, B);
        run.wait(60);
        run.remove(0);
        put(run, A);
    };
    hole(together, Lie::DeletionsDoNotCount, WhyNot::Deleted);
}

#[test]
fn an_event_that_is_still_to_come() {
    hole(
        |run| {
            trusted(run);
            run.delay = Some(900);
            run.put(B, 0);
            run.delay = None;
            run.wait(30);
            put(run, B);
        },
        Lie::EveryBaseIsOld,
        WhyNot::OtherContent,
    );
}

#[test]
fn a_late_event() {
    // Lifecycle has removed the version that is in the caches.
    hole(
        |run| {
            trusted(run);
            put(run, B);
            run.delay = Some(2 * DAY);
            run.put(A, 0);
            run.wait(DAY + HOUR);
            run.expire();
            run.wait(DAY);
        },
        Lie::EventsAreNeverLate,
        WhyNot::LateEvent,
    );
    // It makes up for what was skipped before it came.
    let late = last(|run| {
        trusted(run);
        run.delay = Some(3 * HOUR);
        run.put(B, 0);
        run.delay = None;
        run.wait(2 * HOUR);
        put(run, B);
        assert!(unchanged(2)(&run.decisions[0]));
        run.wait(2 * HOUR);
    });
    assert_eq!(late, Decision::Invalidate(WhyNot::LateEvent));
}

#[test]
fn suspended_versioning() {
    hole(
        |run| {
            trusted(run);
            run.world.bucket.versioning = Versioning::Suspended;
            run.trust();
            put(run, B);
            run.wait(60);
            put(run, A);
        },
        Lie::NullIsAnId,
        WhyNot::NotVersioned(facts::Versioning::Suspended),
    );
}

#[test]
fn a_version_that_was_written_while_versioning_was_suspended() {
    let script: Script = |run| {
        trusted(run);
        put(run, A);
        run.world.bucket.versioning = Versioning::Suspended;
        put(run, B);
        // Nobody knows yet that this one took the place of B.
        run.delay = Some(600);
        run.put(A, 0);
        run.delay = None;
        run.world.bucket.versioning = Versioning::Enabled;
        run.trust();
        put(run, A);
    };
    assert_eq!(last(script), Decision::Invalidate(WhyNot::NullVersion));
}

#[test]
fn a_503_that_is_cached_during_a_bulk_upload() {
    let again: Script = |run| {
        run.world.config.server_error_ttl = 3_000;
        trusted(run);
        run.put(A, 0);
        run.be_busy();
        run.wait(20);
    };
    let first: Script = |run| {
        run.world.config.server_error_ttl = 3_000;
        run.trust();
        run.put(A, 0);
        run.wait(1);
        run.be_busy();
        run.wait(20);
    };
    for script in [again, first] {
        let long = last(script);
        assert!(
            matches!(long, Decision::Invalidate(WhyNot::LongErrors { .. })),
            "{long}"
        );
        is_stale(script, Lie::ErrorsOfTheOriginAreShort);
    }
}

#[test]
fn a_404_that_is_cached_for_long() {
    let script: Script = |run| {
        run.world.config.missing_ttl = 60;
        run.trust();
        run.wait(60);
        put(run, A);
    };
    let long = last(script);
    assert_eq!(
        long.to_string(),
        "not skipped: errors are cached for 60 s, more than 15 s"
    );
    is_stale(script, Lie::ErrorsOfMissingObjectsAreShort);
}

#[test]
fn a_failover_group() {
    hole(
        |run| {
            run.world.config.is_group = true;
            run.trust();
            run.wait(60);
            put(run, A);
        },
        Lie::NoOriginGroup,
        WhyNot::OriginGroup,
    );
    hole(
        |run| {
            run.world.config.is_group = true;
            trusted(run);
            run.be_busy();
            run.wait(60);
            put(run, A);
        },
        Lie::NoOriginGroup,
        WhyNot::OriginGroup,
    );
}

#[test]
fn what_else_may_have_been_served_before_the_first_upload() {
    hole(
        |run| {
            run.world.config.is_website = true;
            run.trust();
            run.wait(60);
            put(run, A);
        },
        Lie::NoWebsite,
        WhyNot::Website,
    );
    hole(
        |run| {
            run.world.config.has_function = true;
            run.trust();
            run.wait(60);
            put(run, A);
        },
        Lie::NoFunction,
        WhyNot::Function,
    );
    hole(
        |run| {
            run.world.has_folder = true;
            run.trust();
            run.wait(60);
            put(run, A);
        },
        Lie::NoFolder,
        WhyNot::OtherPaths,
    );
}

#[test]
fn an_object_that_was_deleted_in_between() {
    hole(
        |run| {
            trusted(run);
            run.delay = Some(600);
            run.delete();
            run.delay = None;
            run.wait(60);
            run.world.config.missing_ttl = 3_000;
            put(run, A);
        },
        Lie::DeleteMarkersDoNotCount,
        WhyNot::DeleteMarker,
    );
}

#[test]
fn headers_tags_and_storage_classes_are_compared() {
    hole(
        |run| {
            trusted(run);
            put(run, Object { headers: 1, ..A });
        },
        Lie::HeadersAreTheSame,
        WhyNot::OtherHeader("Content-Type"),
    );
    hole(
        |run| {
            trusted(run);
            put(run, Object { tags: 1, ..A });
        },
        Lie::TagsAreTheSame,
        WhyNot::OtherTags,
    );
    let archive: Script = |run| {
        run.had(
            Object {
                class: Class::Archive,
                ..A
            },
            5 * DAY,
        );
        run.world.config.missing_ttl = 3_000;
        run.trust();
        run.wait(60);
        put(run, A);
    };
    hole(
        archive,
        Lie::StorageClassesAreTheSame,
        WhyNot::ArchivedStorageClass,
    );
    let intelligent: Script = |run| {
        let object = Object {
            class: Class::Intelligent,
            ..A
        };
        run.had(object, 5 * DAY);
        run.world.config.missing_ttl = 3_000;
        run.archive();
        run.trust();
        run.wait(60);
        run.archive();
        put(run, object);
    };
    hole(
        intelligent,
        Lie::NothingIsArchived,
        WhyNot::ArchivedStorageClass,
    );
}

#[test]
fn a_time_that_is_not_that_of_the_upload() {
    for (object, lie, why) in [
        (
            Object {
                multipart: true,
                ..B
            },
            Lie::UploadsAreInOnePart,
            WhyNot::Multipart,
        ),
        (
            Object { replica: true, ..B },
            Lie::NothingIsReplicated,
            WhyNot::Replica,
        ),
    ] {
        // The upload began long ago, and its event is still to come.
        let script = |run: &mut Run<'_>| {
            trusted(run);
            run.delay = Some(900);
            run.put(object, 2 * HOUR);
            run.delay = None;
            run.wait(30);
            match object.multipart {
                // Its ETag tells nothing of a whole object, but one that was made alike has the same.
                true => put(run, Object { ..object }),
                false => put(run, B),
            }
        };
        let mut run = Run::new(Tape::new(&[]), None, true);
        script(&mut run);
        assert_eq!(run.decisions[0], Decision::Invalidate(why));
        run.finish();
        assert_eq!(run.violation, None, "{}", run.story());
        let mut run = Run::new(Tape::new(&[]), Some(lie), true);
        script(&mut run);
        run.finish();
        assert!(run.violation.is_some(), "{}", run.story());
    }
}

#[test]
fn an_etag_that_does_not_tell_the_content() {
    hole(
        |run| {
            run.had(Object { kms: true, ..A }, 5 * DAY);
            run.trust();
            run.wait(60);
            put(run, Object { kms: true, ..B });
        },
        Lie::EtagsTellTheContent,
        WhyNot::Encrypted,
    );
}

#[test]
fn a_target_that_was_never_cleared() {
    hole(
        |run| {
            run.had(A, 5 * DAY);
            run.wait(60);
            put(run, A);
        },
        Lie::AlwaysTrusted,
        WhyNot::NotTrusted(Distrust::NeverAsked),
    );
}
