//! The operator's command line: `invalidatorctl why` says why an object is fresh, or not, `invalidatorctl verify`
//! compares what CloudFront serves with what S3 holds, `invalidatorctl plan`
//! shows what the function would do with an event, `invalidatorctl estimate` what the last month would have cost,
//! `invalidatorctl bill` what was paid, `invalidatorctl check` what is wrong, `invalidatorctl connect` lets a
//! bucket send its events, `invalidatorctl mode` stops the stack and starts it, `invalidatorctl pause` holds changes
//! back until `invalidatorctl resume`, `invalidatorctl drain` does the function's work at once, `invalidatorctl replay` submits what CloudFront once refused, `invalidatorctl wait` waits until all changes are accepted, `invalidatorctl
//! status` shows what waits.
//!
//! The exit status is 0 if what was asked for is done, 1 if it failed or something was found, and 2 if the
//! command line has to be changed.
// Only `output` writes, because only it escapes what a terminal would obey.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod account;
mod asked;
mod bill;
mod bucket;
mod canary;
mod cause;
mod check;
mod collapse;
mod columns;
mod confirm;
mod connect;
mod disconnect;
mod drain;
mod estimate;
mod function;
mod grouped;
mod held;
mod html;
mod in_json;
mod interrupt;
mod invalidate;
mod invalidations;
mod jobs;
mod local_file;
mod mode;
mod notification;
mod output;
mod pause;
mod plan;
mod progress;
mod queue_numbers;
mod quote;
mod replay;
mod resume;
mod shell;
mod since;
mod site;
mod stack;
mod status;
mod store;
mod stored_object;
mod submission;
mod usage;
mod verify;
mod wait;
mod why;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use invalidator::logging;

/// Keeps CloudFront fresh when S3 objects change: the operator's side.
///
/// The account and the region are those that the AWS CLI would use. They are shown on standard error
/// before anything is asked or done.
#[derive(Parser)]
#[command(name = "invalidatorctl", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit status: 0 done, 1 failed or a finding, 2 the command line cannot be used."
)]
struct Cli {
    #[command(flatten)]
    account: account::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Why(why::Options),
    Verify(verify::Options),
    Plan(plan::Options),
    Estimate(estimate::Options),
    Bill(bill::Options),
    Check(check::Options),
    Connect(connect::Options),
    Disconnect(disconnect::Options),
    Mode(mode::Options),
    Pause(pause::Options),
    Resume(resume::Options),
    Drain(drain::Options),
    Replay(replay::Options),
    Wait(wait::Options),
    Status(status::Options),
    Invalidate(invalidate::Options),
    Jobs(jobs::Options),
    Completions(shell::Completions),
    Man(shell::Man),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let panic = panic.to_string().replace('\n', " ");
        output::error(format_args!("this is a bug of invalidatorctl: {panic}"));
    }));
    logging::start_on_terminal(|| output::LogLine);
    if canary::is_lambda() {
        return canary::serve(async |arguments| {
            let Cli { account, command } = Cli::try_parse_from(arguments)?;
            run(&account, command).await.and_then(finished)
        })
        .await;
    }
    let Cli { account, command } = match usage::parse() {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    match run(&account, command).await.and_then(finished) {
        Ok(status) => status,
        Err(error) => {
            output::error(format_args!("{error:#}"));
            match error.is::<usage::Usage>() {
                true => ExitCode::from(usage::USAGE),
                false => ExitCode::FAILURE,
            }
        }
    }
}

async fn run(account: &account::Options, command: Command) -> Result<ExitCode> {
    match command {
        Command::Why(options) => why::run(account, options).await,
        Command::Verify(options) => verify::run(account, options).await,
        Command::Plan(options) => plan::run(account, options).await,
        Command::Estimate(options) => estimate::run(account, options).await,
        Command::Bill(options) => bill::run(account, options).await,
        Command::Check(options) => check::run(account, options).await,
        Command::Connect(options) => connect::run(account, options).await,
        Command::Disconnect(options) => disconnect::run(account, options).await,
        Command::Mode(options) => mode::run(account, options).await,
        Command::Pause(options) => pause::run(account, options).await,
        Command::Resume(options) => resume::run(account, options).await,
        Command::Drain(options) => drain::run(account, options).await,
        Command::Replay(options) => replay::run(account, options).await,
        Command::Wait(options) => wait::run(account, options).await,
        Command::Status(options) => status::run(account, options).await,
        Command::Invalidate(options) => invalidate::run(account, options).await,
        Command::Jobs(options) => jobs::run(account, options).await,
        Command::Completions(options) => Ok(options.show(&mut Cli::command())),
        Command::Man(options) => options.show(Cli::command()),
    }
}

fn finished(status: ExitCode) -> Result<ExitCode> {
    output::finish().map(|()| status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command lines of this program in a text for a shell, as their arguments, in which other programs do nothing.
    fn run_by(text: &str) -> Vec<Vec<String>> {
        let script = r#"
            exec 3>&1
            aws() { :; }; cat() { :; }; git() { :; }; jq() { :; }; man() { :; }; sed() { :; }
            invalidatorctl() { printf '%s\n' "$@" >&3; printf '\0' >&3; }
            eval "$1"
        "#;
        // Redirected output would be written.
        let text = text.split(" > ").next().unwrap();
        let output = std::process::Command::new("bash")
            .args(["-c", script, "bash", text])
            .output()
            .unwrap();
        let problems = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && problems.is_empty(),
            "{text}: {problems}"
        );
        let output = String::from_utf8(output.stdout).unwrap();
        let calls = output.split_terminator('\0');
        calls
            .map(|call| call.lines().map(str::to_owned).collect())
            .collect()
    }

    fn parse(arguments: &[String]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["invalidatorctl".to_owned()], arguments].concat())
    }

    /// Checks the examples of a command, and of those below it.
    fn check_examples(command: &clap::Command, path: &[String], checked: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string);
        let examples = help.iter().flat_map(|it| it.lines());
        let examples = examples.filter(|it| it.starts_with("  ") && it.contains("invalidatorctl "));
        let mut is_shown = false;
        for example in examples {
            let calls = run_by(example);
            assert!(!calls.is_empty(), "{example}");
            for arguments in calls {
                if let Err(error) = parse(&arguments) {
                    panic!("{example}: {error}");
                }
                is_shown |= arguments.starts_with(path);
                *checked += 1;
            }
        }
        assert!(is_shown || path.is_empty(), "no example of {path:?}");
        for below in command.get_subcommands() {
            check_examples(
                below,
                &[path, &[below.get_name().to_owned()]].concat(),
                checked,
            );
        }
    }

    #[test]
    fn each_command_has_examples_that_a_shell_and_this_program_understand() {
        let mut checked = 0;
        check_examples(&Cli::command(), &[], &mut checked);
        assert!(checked > 50, "{checked}");
    }

    #[test]
    fn the_commands_without_a_stack_are_known() {
        let command = Cli::command();
        let has_stack =
            |it: &clap::Command| it.get_arguments().any(|it| it.get_long() == Some("stack"));
        let without = command.get_subcommands().filter(|it| !has_stack(it));
        let mut without: Vec<&str> = without.map(clap::Command::get_name).collect();
        let mut known = quote::WITHOUT_STACK;
        without.sort_unstable();
        known.sort_unstable();
        assert_eq!(without, known);
    }

    #[test]
    fn wait_and_verify_take_the_same_times() {
        for time in ["10m", "2h", "2026-11-21T02:03:04Z"] {
            for command in ["wait", "verify"] {
                let arguments = [command, "--bucket", "site", "--since", time];
                let arguments = arguments.map(str::to_owned);
                assert!(parse(&arguments).is_ok(), "{command} {time}");
            }
        }
    }

    /// Whether this program understands its calls in a command line, such as a fix of `check`.
    pub fn parses(fix: &str) -> bool {
        run_by(fix).iter().all(|arguments| parse(arguments).is_ok())
    }
}
