//! The pages that `--html` writes, in a real browser: Debian's chromium, or what `CHROMIUM` names. CI installs
//! it (`.ci/run`); on a machine without one these tests say so, and prove nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../tests/support/emulator.rs"]
#[allow(dead_code)] // The tests of the function use the rest.
mod emulator;

#[allow(dead_code)] // The tests of the estimate use the rest.
mod past;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use strict_cloudfront::{CloudFront, Distribution, Origin};
use time::OffsetDateTime;
use tokio::process::Command;

use emulator::Emulator;

/// What is asked of the page, by a script that is only in the test's copy of it.
const PROBE: &str = r"
const round = number => Math.round(number * 10) / 10;
const luminance = color => {
  const parts = color.match(/[\d.]+/g).slice(0, 3).map(part => {
    const value = part / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return round((light + 0.05) / (dark + 0.05));
};
const all = selector => [...document.querySelectorAll(selector)];
const style = element => getComputedStyle(element);
const page = style(document.body).backgroundColor;
const outside = chart => {
  const frame = chart.viewBox.baseVal;
  return [...chart.querySelectorAll('rect, text, polyline')].filter(part => {
    const box = part.getBBox();
    return box.x < -0.5 || box.y < -0.5 || box.x + box.width > frame.width + 0.5 || box.y + box.height > frame.height + 0.5;
  }).length;
};
const overlapping = chart => {
  const texts = [...chart.querySelectorAll('text')].map(text => text.getBoundingClientRect());
  return texts.filter((a, n) => texts.some((b, m) => m > n && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)).length;
};
const charts = all('svg[role=img]').map(chart => ({
  id: chart.id,
  title: chart.querySelector(':scope > title')?.textContent ?? '',
  description: chart.querySelector(':scope > desc')?.textContent ?? '',
  bars: chart.querySelectorAll('rect').length,
  lines: chart.querySelectorAll('polyline').length,
  highest: round(Math.max(0, ...[...chart.querySelectorAll('rect')].map(bar => bar.getBBox().height))),
  untold: [...chart.querySelectorAll('rect, polyline')].filter(part => !part.querySelector('title')?.textContent).length,
  filled: [...chart.querySelectorAll('polyline')].filter(line => style(line).fill !== 'none').length,
  outside: outside(chart),
  overlapping: overlapping(chart),
}));
const colors = all('svg[role=img] rect').map(bar => style(bar).fill);
const ids = all('[id]').map(element => element.id);
const result = {
  title: document.title,
  dark: matchMedia('(prefers-color-scheme: dark)').matches,
  hacked: window.hacked ?? null,
  scripts: document.scripts.length,
  loaded: performance.getEntriesByType('resource').length,
  elements: all('img, iframe, object, embed, link, form, a').length,
  wide: document.documentElement.scrollWidth > innerWidth,
  text: contrast(style(document.body).color, page),
  quiet: Math.min(...all('.quiet, thead th, svg[role=img] text').map(it => contrast(it.tagName === 'text' ? style(it).fill : style(it).color, page))),
  graphics: Math.min(...colors.map(color => contrast(color, page))),
  same_ids: ids.length - new Set(ids).size,
  lang: document.documentElement.lang,
  headings: all('h1').length,
  tables: all('table').length,
  captions: all('table').filter(table => table.caption || table.closest('details')).length,
  unscoped: all('th:not([scope])').length,
  rows: all('tbody tr').length,
  charts,
};
document.documentElement.style.width = '360px';
result.wide_on_a_phone = document.querySelector('main').scrollWidth > 360;
const output = document.createElement('pre');
output.id = 'probe';
output.textContent = encodeURIComponent(JSON.stringify(result));
document.body.append(output);
";

/// A browser, if there is one.
fn browser() -> Option<PathBuf> {
    if let Some(chosen) = std::env::var_os("CHROMIUM") {
        return Some(chosen.into());
    }
    let path = std::env::var_os("PATH").unwrap();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut files = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = files.find(|file| file.exists());
    if found.is_none() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "there is no browser: .ci/run installs chromium"
        );
        eprintln!("NOT TESTED: there is no browser; install chromium, or name one with CHROMIUM");
    }
    found
}

/// Runs the browser without a window.
async fn run(browser: &Path, folder: &Path, arguments: &[&str]) -> String {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--window-size=1100,1400",
        ])
        .arg(profile)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(120), command.output());
    let output = output.await.expect("the browser ends").unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What the probe finds in a page. The page's policy stays, but for the probe.
async fn probe(browser: &Path, folder: &Path, page: &str, is_dark: bool) -> Value {
    let policy = "default-src &#39;none&#39;;";
    assert!(page.contains(policy));
    let allowed = format!("{policy} script-src 'unsafe-inline';");
    let copy = page.replacen(policy, &allowed, 1);
    let copy = copy.replacen("</body>", &format!("<script>{PROBE}</script></body>"), 1);
    let file = folder.join("probe.html");
    std::fs::write(&file, copy).unwrap();
    let scheme = if is_dark { 0 } else { 1 };
    let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
    let url = format!("file://{}", file.display());
    let dom = run(browser, folder, &[&scheme, "--dump-dom", &url]).await;
    let (_, found) = dom.split_once("<pre id=\"probe\">").expect("the probe ran");
    let (found, _) = found.split_once("</pre>").unwrap();
    let found = percent_encoding::percent_decode_str(found)
        .decode_utf8()
        .unwrap();
    serde_json::from_str(&found).unwrap()
}

/// What every page must be.
fn check(found: &Value) {
    let shown = serde_json::to_string_pretty(found).unwrap();
    for (name, expected) in [
        ("hacked", Value::Null),
        ("scripts", 1.into()),
        ("loaded", 0.into()),
        ("elements", 0.into()),
        ("wide", false.into()),
        ("wide_on_a_phone", false.into()),
        ("same_ids", 0.into()),
        ("lang", "en".into()),
        ("headings", 1.into()),
        ("unscoped", 0.into()),
    ] {
        assert_eq!(found[name], expected, "{name}: {shown}");
    }
    assert_eq!(found["captions"], found["tables"], "{shown}");
    // Web Content Accessibility Guidelines, 1.4.3 and 1.4.11.
    assert!(found["text"].as_f64().unwrap() >= 7.0, "{shown}");
    assert!(found["quiet"].as_f64().unwrap() >= 4.5, "{shown}");
    assert!(found["graphics"].as_f64().unwrap() >= 3.0, "{shown}");
    for chart in found["charts"].as_array().unwrap() {
        for name in ["outside", "overlapping", "untold", "filled"] {
            assert_eq!(chart[name], 0, "{name} in {chart}");
        }
        for name in ["title", "description"] {
            assert!(!chart[name].as_str().unwrap().is_empty(), "{chart}");
        }
    }
}

/// A folder that is removed when dropped, unless somebody wants to look: `KEEP_PAGES=1`.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os("KEEP_PAGES").is_none() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Whoever may upload or invalidate chooses these.
const HOSTILE: &str = "</title></style><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\"'><svg onload=window.hacked=1>";

/// The page of the running month, with many distributions, causes and days.
async fn bill(folder: &Path) -> String {
    let (emulator, cloudfront) = tokio::join!(Emulator::start(), CloudFront::start());
    let cloudfront = cloudfront.unwrap();
    let references = [
        "9f86d081884c7d659a2feaa0c55ad015-flush",
        "9f86d081884c7d659a2feaa0c55ad015-replay",
        "cli-1790000000-123456",
        "4f3bfa6e-6f2a-4f3c-9d0e-0d3b1a5f7c11",
        "1638960000000",
        HOSTILE,
    ];
    let now = OffsetDateTime::now_utc();
    // A month that is over has all days, and the running one a forecast.
    let month = now.replace_day(1).unwrap() - time::Duration::days(1);
    for n in 0..9_u8 {
        let id = format!("E{n}QWRUHAPOMQZL");
        let alias = match n {
            0 => "www.example.org".to_owned(),
            1 => HOSTILE.to_owned(),
            n => format!("{n}.example.org"),
        };
        cloudfront.add(Distribution::new(&id, Origin::s3("site", "site")).alias(&alias));
        for day in (1..=month.day()).step_by(1 + usize::from(n) % 3) {
            let paths: Vec<String> = (0..(day + n) * 2)
                .map(|n| format!("/{HOSTILE}/{n}*"))
                .collect();
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let reference = references[usize::from(n + day) % references.len()];
            let time = month.replace_day(day).unwrap();
            cloudfront.add_invalidation(&id, time, reference, &paths);
            if time
                .replace_month(now.month())
                .is_ok_and(|_| day <= now.day())
            {
                let time = now.replace_day(day).unwrap() - time::Duration::seconds(5);
                cloudfront.add_invalidation(&id, time, reference, &paths);
            }
        }
    }
    let name = format!("{:04}-{:02}", month.year(), u8::from(month.month()));
    for arguments in [
        &["--month", &name, "--html", "past.html"][..],
        &["--html", "running.html"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
            .current_dir(folder)
            .arg("bill")
            .args(arguments)
            .env("AWS_ENDPOINT_URL", emulator.endpoint_url())
            .env("AWS_ENDPOINT_URL_CLOUDFRONT", cloudfront.endpoint_url())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("XDG_CACHE_HOME", folder)
            .output();
        let output = output.await.unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    std::fs::read_to_string(folder.join("past.html")).unwrap()
}

#[tokio::test]
async fn the_page_of_a_bill_is_whole_and_readable_in_a_browser() {
    let Some(browser) = browser() else { return };
    let folder = Folder::new("bill");
    let page = bill(&folder.0).await;
    for is_dark in [false, true] {
        let found = probe(&browser, &folder.0, &page, is_dark).await;
        check(&found);
        assert_eq!(found["dark"], is_dark);
        let charts = found["charts"].as_array().unwrap();
        let ids: Vec<_> = charts.iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["by-distribution", "by-cause", "costs"]);
        assert!(charts[0]["bars"].as_u64().unwrap() > 100);
        assert!(charts[0]["highest"].as_f64().unwrap() > 20.0);
        assert_eq!(charts[2]["lines"], 1, "no forecast of a month that is over");
    }
    let running = std::fs::read_to_string(folder.0.join("running.html")).unwrap();
    let found = probe(&browser, &folder.0, &running, false).await;
    check(&found);
    let lines = found["charts"][2]["lines"].as_u64().unwrap();
    assert!(
        lines == 2 || OffsetDateTime::now_utc().day() == 1,
        "a forecast"
    );
}

/// The page of an estimate, with many distributions, folders and days, in which everything happens.
async fn estimate(folder: &Path) -> String {
    let mut site = past::blog(past::Bucket::versioned(), 20);
    let now = OffsetDateTime::now_utc();
    for n in 0..40_u64 {
        let time = now - time::Duration::hours(n as i64 * 17);
        site.put(&format!("{HOSTILE}-{n}/a"), time, n);
    }
    let account = past::Account::new(site).await;
    for n in 2..6 {
        let id = format!("E{n}QWRUHAPOMQZL");
        let distribution = Distribution::new(&id, Origin::s3("site", "site"));
        let alias = if n == 3 { HOSTILE } else { "a.example.org" };
        account.cloudfront.add(distribution.alias(alias));
    }
    account.deny("GetBucketTagging");
    for (arguments, file) in [
        (&["--days", "60"][..], "versions.html"),
        (&["--days", "1"], "day.html"),
    ] {
        let fixed = ["--bucket", "site", "--html", file];
        let mut command = account.command(&[&fixed, arguments].concat());
        let output = command.current_dir(folder).output().await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
    }
    account.deny("ListObjectVersions");
    let mut command = account.command(&["--bucket", "site", "--html", "objects.html"]);
    let output = command.current_dir(folder).output().await.unwrap();
    assert!(output.status.success());
    std::fs::read_to_string(folder.join("versions.html")).unwrap()
}

#[tokio::test]
async fn the_page_of_an_estimate_is_whole_and_readable_in_a_browser() {
    let Some(browser) = browser() else { return };
    let folder = Folder::new("estimate");
    let page = estimate(&folder.0).await;
    for is_dark in [false, true] {
        let found = probe(&browser, &folder.0, &page, is_dark).await;
        check(&found);
        let charts = found["charts"].as_array().unwrap();
        let ids: Vec<_> = charts.iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["costs", "each-path", "balanced"]);
        assert_eq!(charts[0]["lines"], 8, "one of each way");
        assert!(charts[1]["bars"].as_u64().unwrap() >= 30);
        assert!(charts[1]["highest"].as_f64().unwrap() > 20.0);
        assert_eq!(found["tables"], 4);
    }
    for (name, lines) in [("day.html", 8), ("objects.html", 5)] {
        let page = std::fs::read_to_string(folder.0.join(name)).unwrap();
        let found = probe(&browser, &folder.0, &page, false).await;
        check(&found);
        assert_eq!(found["charts"][0]["lines"], lines, "{name}");
        assert_eq!(page.contains("A lower bound: "), name == "objects.html");
    }
}
