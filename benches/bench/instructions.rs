//! Instructions, counted by callgrind: the same on a busy machine, and nearly the same on another.

use std::fs;
use std::path::{Path, PathBuf};

use crate::programs::{Program, out, which};

/// The instructions from the start of a program until it asks for the event after so many.
pub async fn of_events(program: &Program, event: &str, times: usize) -> u64 {
    let file = out().join(format!("callgrind.{}.{times}-events", program.name));
    let run = program.clone().under(&callgrind(&file)).start().await;
    run.invoke(event, times).await;
    run.aws.somebody_waits().await;
    run.function.terminate();
    counted(&file)
}

/// The instructions from the start of a program until it has flushed these messages.
pub async fn of_flush(program: &Program, messages: &[String]) -> u64 {
    let count = messages.len();
    let file = out().join(format!("callgrind.{}.flush-of-{count}", program.name));
    let run = program.clone().under(&callgrind(&file)).start().await;
    messages.iter().for_each(|body| run.aws.buffer(body));
    run.flush_alone().await;
    run.aws.somebody_waits().await;
    run.function.terminate();
    counted(&file)
}

/// The instructions of one repeat of a command of bench-core: what a second repeat adds.
pub fn of_core(core: &Program, arguments: &[&str]) -> u64 {
    let file = out().join(format!("callgrind.{}", arguments[0]));
    let of = |repeats: &str| {
        let mut command = core.clone().under(&callgrind(&file)).command();
        let done = command.args(arguments).arg(repeats).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{arguments:?}: {said}");
        counted(&file)
    };
    of("2") - of("1")
}

fn callgrind(file: &Path) -> [PathBuf; 3] {
    let option = format!("--callgrind-out-file={}", file.display());
    [which("valgrind"), "--tool=callgrind".into(), option.into()]
}

fn counted(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let is_sum = |line: &&str| line.starts_with("summary:") || line.starts_with("totals:");
    let sum = text.lines().find(is_sum).unwrap();
    sum.split_whitespace().nth(1).unwrap().parse().unwrap()
}
