//! The first event of a process, and warm ones.

use std::collections::BTreeMap;
use std::fs;

use crate::instructions;
use crate::programs::{Program, Programs, Run, function, processor, root};
use crate::table::{Figure, Row, Unit, at_most, cheaper, compared, shown};

const ROUNDS: usize = 15;
const WARM_UP: usize = 300;
const WARM: usize = 200;
/// By then Node's compiler has made the handler as fast as it gets. Few environments live to see so
/// many events.
const LATE_ROUNDS: usize = 3;
const LATE_WARM_UP: usize = 3_000;

/// An upload of `index.html`.
pub fn event() -> String {
    fs::read_to_string(root().join("events/s3-put.json")).unwrap()
}

/// What the rounds of a program have shown, in seconds of processor time and bytes.
#[derive(Default)]
struct Measured {
    first: Vec<f64>,
    warm: Vec<f64>,
    peak: Vec<f64>,
}

impl Measured {
    fn first(&self) -> Figure {
        Figure::seconds(self.first.clone())
    }

    fn warm(&self) -> Figure {
        Figure::seconds(self.warm.clone())
    }
}

pub async fn measure(programs: &Programs) -> Vec<Row> {
    let (ours, boto3, node) = (&programs.ours, &programs.boto3, &programs.node);
    let all = [
        ours,
        boto3,
        node,
        &programs.boto3_packed,
        &programs.node_packed,
    ];
    let mut of: [Measured; 5] = Default::default();
    // The first round counts for nothing: it brings the programs' files into memory.
    for round in 0..=ROUNDS {
        for (program, measured) in all.iter().zip(&mut of) {
            let mut ignored = Measured::default();
            let measured = if round == 0 { &mut ignored } else { measured };
            one_round(program, measured).await;
        }
    }
    let [of_ours, of_boto3, of_node, of_boto3_packed, of_node_packed] = of;
    let (mut late, mut late_node) = (Vec::new(), Vec::new());
    for _ in 0..LATE_ROUNDS {
        late.push(warm_event(&ours.start().await, LATE_WARM_UP).await);
        late_node.push(warm_event(&node.start().await, LATE_WARM_UP).await);
    }
    let mut counts = Vec::new();
    for program in [ours, boto3, node] {
        let count = instructions::of_events(program, &event(), 1).await;
        counts.push(Figure::new(Unit::Count, vec![count as f64]));
    }
    let start = "first event: CPU from the start of the process";
    let counted = "first event: instructions from the start of the process";
    let warm = "warm event: CPU";
    let first = of_ours.first();
    let mut rows = vec![
        cheaper(
            start,
            &first,
            programs.boto3_packed.name,
            &of_boto3_packed.first(),
            150.0,
        ),
        compared("  bytecode at hand", &first, boto3.name, &of_boto3.first()),
        cheaper(
            start,
            &first,
            programs.node_packed.name,
            &of_node_packed.first(),
            80.0,
        ),
        compared(
            "  bundled and minified",
            &first,
            node.name,
            &of_node.first(),
        ),
        at_most(counted, &counts[0], 2_800_000.0).settled(),
        cheaper(
            "  of the peer with bytecode at hand",
            &counts[0],
            boto3.name,
            &counts[1],
            150.0,
        )
        .settled(),
        cheaper(
            "  of the peer bundled and minified",
            &counts[0],
            node.name,
            &counts[2],
            80.0,
        )
        .settled(),
        cheaper(warm, &of_ours.warm(), boto3.name, &of_boto3.warm(), 15.0),
        cheaper(warm, &of_ours.warm(), node.name, &of_node.warm(), 20.0),
        compared(
            "  after 3,000 events",
            &Figure::seconds(late),
            node.name,
            &Figure::seconds(late_node),
        ),
        at_most(
            "memory: peak at the first event",
            &Figure::new(Unit::Memory, of_ours.peak),
            8_388_608.0,
        ),
    ];
    rows.extend(sizes());
    rows
}

/// Sizes of what is deployed, for each processor it has been built for.
fn sizes() -> Vec<Row> {
    let size = |file: &std::path::Path| {
        let bytes = fs::metadata(file).ok()?.len();
        Some(Figure::new(Unit::Bytes, vec![bytes as f64]))
    };
    let zips = ["arm64", "x86_64"].into_iter().filter_map(|processor| {
        let zip = root().join("target/lambda").join(processor);
        let zip = size(&zip.join("invalidator/bootstrap.zip"))?;
        Some(at_most(
            &format!("size of the zip ({processor})"),
            &zip,
            2_500_000.0,
        ))
    });
    let binary = size(&function()).unwrap();
    let binary = shown(&format!("size of the binary ({})", processor()), &binary);
    zips.chain([binary]).collect()
}

async fn one_round(program: &Program, measured: &mut Measured) {
    let run = program.start().await;
    measured.first.push(run.invoke(&event(), 1).await);
    measured.peak.push(run.function.peak_bytes() as f64);
    check_calls(program, &run, 1);
    // The packed ones only start in another way.
    if !program.name.ends_with("packs it") {
        measured.warm.push(warm_event(&run, WARM_UP).await);
        check_calls(program, &run, 1 + WARM_UP + WARM);
    }
}

/// The processor time of an event after so many.
async fn warm_event(run: &Run, warm_up: usize) -> f64 {
    let begun = run.invoke(&event(), warm_up).await;
    let ended = run.invoke(&event(), WARM).await;
    (ended - begun) / WARM as f64
}

/// All programs make the same calls and buffer the same changes, or the comparison says nothing.
pub fn check_calls(program: &Program, run: &Run, events: usize) {
    let account = run.aws.account();
    let mut calls = account.calls.clone();
    // A window may end while events come in: one more tick.
    let ticks = calls.remove("SendMessage tick.fifo");
    assert!(
        matches!(ticks, Some(1 | 2)),
        "{}: {ticks:?} ticks",
        program.name
    );
    let expected = [("GetBucketTagging", 1), ("SendMessageBatch buffer", events)];
    let expected: BTreeMap<_, _> = expected
        .map(|(name, count)| (name.to_owned(), count))
        .into();
    assert_eq!(calls, expected, "{}", program.name);
    let messages = account.queues["buffer"].messages();
    let buffered = messages.filter(|message| message.body.contains("index.html"));
    assert_eq!(buffered.count(), events, "{}", program.name);
}
