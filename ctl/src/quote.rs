//! Commands that a person can paste into a shell.

use std::collections::BTreeMap;

/// The name of a stack that nobody chose.
const DEFAULT_STACK: &str = "invalidator";

/// The commands that have no `--stack`.
pub const WITHOUT_STACK: [&str; 5] = ["plan", "estimate", "bill", "completions", "man"];

/// A text as one word of a POSIX shell.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Words as a command.
pub fn command<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let words = words.into_iter().map(|word| quoted(word.as_ref()));
    words.collect::<Vec<_>>().join(" ")
}

/// Where this command works. A command that it prints has to work there too: there may be a stack of the same name
/// in another region or account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    pub region: String,
    /// If `--profile` was given. What the environment says holds for the next command too.
    pub profile: Option<String>,
    /// If `--endpoint-url` was given.
    pub endpoint_url: Option<String>,
    pub stack: NamedBy,
}

/// What names the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NamedBy {
    /// Nothing: the command has no stack.
    #[default]
    Nothing,
    Stack(String),
    ErrorBucket(String),
}

impl Here {
    /// A command line with the options without which it would work elsewhere: the region, the profile and the
    /// endpoint, and of `invalidatorctl` and `sam deploy` the stack, unless it is called `invalidator`. Each simple
    /// command of the line gets its own. Options that are there stay.
    pub fn complete(&self, line: &str) -> String {
        if line.starts_with('#') {
            return line.to_owned();
        }
        let mut completed = String::new();
        for (simple, operator) in simple_commands(line) {
            let end = simple.trim_end();
            completed.push_str(end);
            for (option, value) in self.missing(end) {
                completed.push_str(&format!(" {option} {}", quoted(value)));
            }
            completed.push_str(&simple[end.len()..]);
            completed.push_str(operator);
        }
        completed
    }

    /// The options that a simple command lacks.
    fn missing(&self, simple: &str) -> Vec<(&'static str, &str)> {
        let words: Vec<&str> = simple.split_whitespace().collect();
        let (stack, has_endpoint) = match words.as_slice() {
            ["aws", ..] => (None, true),
            ["sam", "deploy", ..] => (self.stack_option("--stack-name"), false),
            ["invalidatorctl", name, ..] if WITHOUT_STACK.contains(name) => (None, true),
            ["invalidatorctl", ..] => (self.stack_option("--stack"), true),
            _ => return Vec::new(),
        };
        let endpoint = self.endpoint_url.as_deref().filter(|_| has_endpoint);
        let options = [
            stack,
            Some(("--region", self.region.as_str())).filter(|(_, region)| !region.is_empty()),
            self.profile.as_deref().map(|it| ("--profile", it)),
            endpoint.map(|it| ("--endpoint-url", it)),
        ];
        let options = options.into_iter().flatten();
        options.filter(|(it, _)| !words.contains(it)).collect()
    }

    fn stack_option(&self, name: &'static str) -> Option<(&'static str, &str)> {
        match &self.stack {
            NamedBy::Stack(stack) if stack != DEFAULT_STACK => Some((name, stack)),
            NamedBy::ErrorBucket(bucket) if name == "--stack" => Some(("--error-bucket", bucket)),
            NamedBy::Nothing | NamedBy::Stack(_) | NamedBy::ErrorBucket(_) => None,
        }
    }
}

/// The simple commands of a line, each with the operator that comes after it: `&&`, `|`, `;` or `>`. What comes after
/// `>` is a file, which looks like a command that is none of ours.
fn simple_commands(line: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let end = first_operator(rest).unwrap_or(rest.len());
        let (simple, after) = rest.split_at(end);
        let operator = after.trim_start_matches(['&', '|', ';', '>', ' ']);
        let operator = &after[..after.len() - operator.len()];
        found.push((simple, operator));
        rest = &after[operator.len()..];
    }
    found
}

/// Where the first operator is that is not quoted.
fn first_operator(line: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    line.find(|c: char| {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (None | Some('"'), '\\') => is_escaped = true,
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '&' | '|' | ';' | '>') => return true,
            _ => {}
        }
        false
    })
}

/// The command that gives one parameter of a stack another value, and leaves all else as it is deployed.
pub fn set_parameter(
    stack: &str,
    parameters: &BTreeMap<String, String>,
    name: &str,
    value: &str,
) -> String {
    let parameters = parameters.keys().map(|key| match key == name {
        true => serde_json::json!({ "ParameterKey": key, "ParameterValue": value }),
        false => serde_json::json!({ "ParameterKey": key, "UsePreviousValue": true }),
    });
    let parameters = serde_json::Value::from_iter(parameters).to_string();
    command([
        "aws",
        "cloudformation",
        "update-stack",
        "--stack-name",
        stack,
        "--use-previous-template",
        "--capabilities",
        "CAPABILITY_IAM",
        "CAPABILITY_AUTO_EXPAND",
        "--parameters",
        &parameters,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_read_it_otherwise() {
        for (text, expected) in [
            ("site", "site"),
            ("arn:aws:s3:::site/a-b_c", "arn:aws:s3:::site/a-b_c"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(rm -rf ~)", "'$(rm -rf ~)'"),
            ("it's", r"'it'\''s'"),
            ("*", "'*'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn other_parameters_keep_their_values() {
        let parameters = [("A", "1"), ("B", "2")];
        let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let command = set_parameter("my-stack", &parameters.into(), "B", "x,y");
        let expected = r#"--parameters '[{"ParameterKey":"A","UsePreviousValue":true},{"ParameterKey":"B","ParameterValue":"x,y"}]'"#;
        assert!(command.ends_with(expected), "{command}");
    }

    #[test]
    fn a_command_names_what_was_chosen() {
        let here = Here {
            region: "eu-west-1".to_owned(),
            profile: Some("my prod".to_owned()),
            endpoint_url: None,
            stack: NamedBy::Stack("site".to_owned()),
        };
        for (line, expected) in [
            (
                "aws s3 ls",
                "aws s3 ls --region eu-west-1 --profile 'my prod'",
            ),
            (
                "invalidatorctl mode live",
                "invalidatorctl mode live --stack site --region eu-west-1 --profile 'my prod'",
            ),
            (
                "invalidatorctl bill",
                "invalidatorctl bill --region eu-west-1 --profile 'my prod'",
            ),
            (
                "invalidatorctl check --region us-east-1",
                "invalidatorctl check --region us-east-1 --stack site --profile 'my prod'",
            ),
            (
                "git pull && sam build && sam deploy",
                "git pull && sam build && sam deploy --stack-name site --region eu-west-1 --profile 'my prod'",
            ),
            (
                "aws a > x.json && jq '.a | b > c && aws' x.json; aws b \"$(jq -r '.E | .F' x)\"",
                "aws a --region eu-west-1 --profile 'my prod' > x.json && jq '.a | b > c && aws' x.json; aws b \"$(jq -r '.E | .F' x)\" --region eu-west-1 --profile 'my prod'",
            ),
            (
                r"aws a 'it'\''s | not' | jq .",
                r"aws a 'it'\''s | not' --region eu-west-1 --profile 'my prod' | jq .",
            ),
            ("# aws s3 ls", "# aws s3 ls"),
            ("cargo install ctl", "cargo install ctl"),
        ] {
            assert_eq!(here.complete(line), expected);
            assert_eq!(here.complete(expected), expected, "once is enough");
        }
    }

    #[test]
    fn a_command_names_the_stack_as_it_was_named() {
        for (stack, mode, deploy) in [
            (NamedBy::Nothing, "", ""),
            (NamedBy::Stack("invalidator".to_owned()), "", ""),
            (
                NamedBy::Stack("site".to_owned()),
                " --stack site",
                " --stack-name site",
            ),
            (
                NamedBy::ErrorBucket("errors".to_owned()),
                " --error-bucket errors",
                "",
            ),
        ] {
            let here = Here {
                stack,
                endpoint_url: Some("http://127.0.0.1:5000".to_owned()),
                ..Here::default()
            };
            let endpoint = " --endpoint-url http://127.0.0.1:5000";
            assert_eq!(
                here.complete("invalidatorctl mode"),
                format!("invalidatorctl mode{mode}{endpoint}")
            );
            assert_eq!(here.complete("sam deploy"), format!("sam deploy{deploy}"));
        }
    }
}
