//! Which account a command works in: the one that the AWS CLI would choose.

use std::path::PathBuf;
use std::process::Output;

use super::support::account::Account;
use super::text;

/// Two profiles. The emulator takes an access key of twelve digits as the account.
const CREDENTIALS: &str = "
[default]
aws_access_key_id = 111111111111
aws_secret_access_key = SECRET-OF-DEFAULT
[prod]
aws_access_key_id = 222222222222
aws_secret_access_key = SECRET-OF-PROD
";
const CONFIG: &str = "
[profile prod]
region = eu-west-1
[profile role]
role_arn = arn:aws:iam::222222222222:role/operator
source_profile = prod
region = eu-central-1
[profile empty]
output = json
";

struct Machine {
    account: Account,
    folder: PathBuf,
}

impl Machine {
    async fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("credentials"), CREDENTIALS).unwrap();
        std::fs::write(folder.join("config"), CONFIG).unwrap();
        let account = Account::new(&[]).await;
        Self { account, folder }
    }

    /// Runs `mode` with these variables and arguments, and nothing else in the environment.
    async fn run(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"));
        command.env_clear().envs(self.account.environment());
        for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            command.env_remove(name);
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        let files = [
            ("AWS_CONFIG_FILE", "config"),
            ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        ];
        command.envs(files.map(|(name, file)| (name, self.folder.join(file))));
        command.envs(variables.iter().copied());
        let fixed = ["mode", "--error-bucket", "errors"];
        command
            .args([&fixed, arguments].concat())
            .output()
            .await
            .unwrap()
    }
}

const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "333333333333"),
    ("AWS_SECRET_ACCESS_KEY", "SECRET-OF-ENVIRONMENT"),
];
const REGION: (&str, &str) = ("AWS_REGION", "us-west-2");

/// Before: the keys in the environment won over --profile, and the command worked in another account.
#[tokio::test]
async fn the_account_is_the_one_that_the_aws_cli_would_choose() {
    let machine = Machine::new("account").await;
    let environment = [&KEYS[..], &[REGION]].concat();
    let with = |more: &[(&'static str, &'static str)]| [&environment, more].concat();
    for (variables, arguments, expected) in [
        (vec![REGION], vec![], "account 111111111111, us-west-2, "),
        (
            environment.clone(),
            vec![],
            "account 333333333333 (keys of the environment), us-west-2, ",
        ),
        // Both from the profile.
        (
            KEYS.to_vec(),
            vec!["--profile", "prod"],
            "account 222222222222 (prod), eu-west-1, ",
        ),
        (
            vec![],
            vec!["--profile", "role"],
            "account 222222222222 (role), eu-central-1, ",
        ),
        // A region in the environment wins over that of a profile, as in the AWS CLI.
        (
            environment.clone(),
            vec!["--profile", "prod"],
            "account 222222222222 (prod), us-west-2, ",
        ),
        (
            environment.clone(),
            vec!["--profile", "prod", "--region", "sa-east-1"],
            "account 222222222222 (prod), sa-east-1, ",
        ),
        (
            vec![("AWS_PROFILE", "prod")],
            vec![],
            "account 222222222222 (prod), eu-west-1, ",
        ),
        (
            vec![("AWS_DEFAULT_PROFILE", "prod")],
            vec![],
            "account 222222222222 (prod), eu-west-1, ",
        ),
        // Keys in the environment win over a profile in the environment.
        (
            with(&[("AWS_PROFILE", "prod")]),
            vec![],
            "account 333333333333 (keys of the environment), us-west-2, ",
        ),
        (
            vec![("AWS_PROFILE", "prod"), ("AWS_DEFAULT_REGION", "ca-west-1")],
            vec![],
            "account 222222222222 (prod), ca-west-1, ",
        ),
    ] {
        let output = machine.run(&variables, &arguments).await;
        let told = text(output.stderr);
        assert!(
            told.starts_with(expected),
            "{variables:?} {arguments:?}: {told}"
        );
    }
}

#[tokio::test]
async fn an_account_that_cannot_be_chosen_is_an_error_that_tells_no_secret() {
    let machine = Machine::new("no-account").await;
    let environment = [&KEYS[..], &[REGION]].concat();
    for (variables, arguments, expected) in [
        (
            environment.clone(),
            vec!["--profile", "prdo"],
            "there is no profile `prdo`",
        ),
        (
            vec![("AWS_PROFILE", "prdo"), REGION],
            vec![],
            "there is no profile `prdo`",
        ),
        (KEYS.to_vec(), vec![], "no region is set: say --region"),
        (
            environment.clone(),
            vec!["--profile", "empty"],
            "STS GetCallerIdentity: NoCredentials: ",
        ),
        (
            vec![REGION, ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")],
            vec![],
            "STS GetCallerIdentity: NoCredentials: ",
        ),
    ] {
        let output = machine.run(&variables, &arguments).await;
        let told = text(output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.starts_with("error: ") && told.contains(expected),
            "{told}"
        );
        for secret in ["SECRET", "1111", "2222", "3333"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
    std::fs::write(machine.folder.join("credentials"), "[prod\nSECRET").unwrap();
    let output = machine.run(&[REGION], &["--profile", "prod"]).await;
    let told = text(output.stderr);
    assert!(
        told.contains("failed to read the AWS configuration files: "),
        "{told}"
    );
    assert!(!told.contains("SECRET"), "{told}");
}
