//! Commands that a person can paste into a shell.

use std::collections::BTreeMap;

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
}
