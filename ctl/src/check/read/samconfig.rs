//! Reads what the next `sam deploy` from a folder would set.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use invalidator_core::service_error::{FILE_NOT_READ, ServiceError};
use toml_edit::{DocumentMut, Item, Value};

use super::looking::Looking;
use crate::check::facts::Samconfig;
use crate::check::finding::Subject;

/// `None` if there is no such file, or nothing in it is about this stack.
pub fn read(looking: &Looking<'_>, file: &Path, stack: &str) -> Option<Samconfig> {
    let fail = |message: String| {
        let what = format!("{}", file.display());
        looking.fail(
            &Subject::Stack,
            &what,
            ServiceError::own(FILE_NOT_READ, message),
        );
        None
    };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => return fail(error.to_string()),
    };
    match overrides(&text, stack) {
        Ok(overrides) => overrides.map(|overrides| Samconfig {
            file: file.display().to_string(),
            overrides,
        }),
        Err(message) => fail(message),
    }
}

/// The parameters that a deployment of this stack would set; `None` if the file is not about it.
fn overrides(text: &str, stack: &str) -> Result<Option<BTreeMap<String, String>>, String> {
    let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    })?;
    let mut all = None;
    for (_, environment) in document.iter() {
        let settings = |command: &str| environment.get(command).and_then(|it| it.get("parameters"));
        let of = |name: &str| {
            let own = settings("deploy").and_then(|it| it.get(name));
            own.or_else(|| settings("global").and_then(|it| it.get(name)))
        };
        if of("stack_name").and_then(Item::as_str) != Some(stack) {
            continue;
        }
        let overrides: &mut BTreeMap<_, _> = all.get_or_insert_default();
        for text in of("parameter_overrides").map(texts).unwrap_or_default() {
            overrides.extend(pairs(&text));
        }
    }
    Ok(all)
}

/// A text, or a list of them.
fn texts(item: &Item) -> Vec<String> {
    match item.as_value() {
        Some(Value::Array(all)) => {
            let texts = all.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        }
        Some(value) => value.as_str().map(str::to_owned).into_iter().collect(),
        None => Vec::new(),
    }
}

/// `A=1 B="two words"`, and `ParameterKey=A,ParameterValue=1`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for word in words(text) {
        let long = word.strip_prefix("ParameterKey=");
        let long = long.and_then(|it| it.split_once(",ParameterValue="));
        let pair = long.or_else(|| word.split_once('='));
        pairs.extend(pair.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    pairs
}

/// The words of a text, in which quotes hold words together and a backslash takes the next character as it is.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut is_begun) = (String::new(), None, false);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', _) => {
                word.extend(characters.next());
                is_begun = true;
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => (quote, is_begun) = (Some(c), true),
            (c, None) if c.is_whitespace() => {
                if is_begun {
                    words.push(std::mem::take(&mut word));
                }
                is_begun = false;
            }
            (c, None) => {
                word.push(c);
                is_begun = true;
            }
        }
    }
    if is_begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_overrides_are_read() {
        let expected = [("A", "1"), ("B", "two words"), ("C", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for written in [
            r#""A=1 B=\"two words\" C=\"\"""#,
            r#""A=\"1\" B=\"two words\" C=""#,
            r#"["A=1", "B='two words'", "C="]"#,
            r#""ParameterKey=A,ParameterValue=1 ParameterKey=B,ParameterValue='two words' C=''""#,
            "'A=1 B=\"two words\" C='",
        ] {
            let text = format!(
                "version = 0.1\n[other.deploy.parameters]\nstack_name = \"other\"\nparameter_overrides = \"A=9\"\n\
                 [default.deploy.parameters]\nstack_name = \"my-stack\"\nparameter_overrides = {written}\n"
            );
            let read = overrides(&text, "my-stack").unwrap().unwrap();
            assert_eq!(read, expected.clone().into(), "{written}");
            assert_eq!(overrides(&text, "third").unwrap(), None);
        }
        assert!(overrides("[default", "my-stack").is_err());
        let global = "[default.global.parameters]\nstack_name = \"s\"\n[default.deploy.parameters]\nparameter_overrides = \"A=1\"\n";
        assert_eq!(overrides(global, "s").unwrap().unwrap().len(), 1);
    }
}
