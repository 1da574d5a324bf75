//! Opens the page in Chromium. Without one, the tests are skipped with a message;
//! `UNER_REQUIRE_BROWSER=1` makes them fail instead.

use std::path::Path;
use std::process::Command;

use super::sample_tests::report;
use super::{SCRIPT_HASH, html};

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Settings of Blink for a reader who prefers dark or light pages.
const DARK: &str = "--blink-settings=preferredColorScheme=0";
const LIGHT: &str = "--blink-settings=preferredColorScheme=1";

fn browser() -> Option<&'static str> {
    let is_program = |name: &&str| {
        std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
        })
    };
    let found = BROWSERS.into_iter().find(is_program);
    if found.is_none() {
        let required = std::env::var("UNER_REQUIRE_BROWSER").is_ok_and(|value| value == "1");
        assert!(!required, "none of {BROWSERS:?} is on the PATH");
        eprintln!("skipped: none of {BROWSERS:?} is on the PATH");
    }
    found
}

/// The document after its scripts ran, and the messages of the console; `None` without a browser.
fn opened(page: &str, fragment: &str, options: &[&str]) -> Option<(String, String)> {
    let browser = browser()?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    fs_err::write(&file, page).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--virtual-time-budget=5000", "--enable-logging=stderr", "--dump-dom"])
        .args(options)
        .arg(user_data(folder.path()))
        .arg(format!("file://{}{fragment}", file.display()))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let console = log.lines().filter(|line| line.contains("CONSOLE")).collect::<Vec<_>>();
    Some((String::from_utf8_lossy(&output.stdout).into_owned(), console.join("\n")))
}

fn user_data(folder: &Path) -> String {
    format!("--user-data-dir={}", folder.join("profile").display())
}

/// A copy of the page whose policy allows a script of the test, which runs after the page's own.
/// The script calls `done` with a value, which becomes the title.
fn with_script(script: &str) -> String {
    let page = html(&report());
    let policy = format!("'sha256-{SCRIPT_HASH}'");
    assert!(page.contains(&policy));
    let script = format!(
        "<script>const done = (value) => {{ document.title = 'RESULT ' + JSON.stringify(value); }};\n\
         {script}</script></body>"
    );
    page.replace(&policy, "'unsafe-inline'").replace("</body>", &script)
}

fn assert_result((document, console): &(String, String), expected: &str) {
    assert_eq!(console, "");
    let result = document.lines().find(|line| line.contains("RESULT"));
    assert!(document.contains(&format!("<title>RESULT {expected}</title>")), "{result:?}");
}

#[test]
fn a_link_to_a_dataset_opens_its_errors() {
    let Some((document, console)) = opened(&html(&report()), "#dataset-0", &[]) else { return };
    assert_eq!(console, "");
    assert!(document.contains("<title>Evaluation of &lt;/script&gt;"), "{document}");
    assert_eq!(document.matches("<li class=\"error\">").count(), 6, "of the opened dataset only");
    assert!(document.contains("<mark class=\"both\">Cook<small>gold + predicted</small></mark>"));
    assert!(!document.contains("<img") && !document.contains("<b a="));
}

#[test]
fn clicks_open_filter_and_sort() {
    let script = "
        const read = (query) => [...document.querySelectorAll(query)].map((found) => found.textContent);
        const results = [read('.error').length];
        document.querySelector('#dataset-0 summary').click();
        setTimeout(() => {
          results.push(read('.error').length);
          const [kind, type] = document.querySelectorAll('#dataset-0 select');
          kind.value = 'boundary'; kind.dispatchEvent(new Event('change'));
          results.push(read('.error').length, read('output')[0]);
          kind.value = ''; type.value = 'organization'; type.dispatchEvent(new Event('change'));
          results.push(read('.error').length);
          const button = [...document.querySelectorAll('.datasets th button')]
            .find((found) => found.textContent === 'passages');
          const names = () => read('.datasets tbody th').map((name) => name.slice(0, 8)).join();
          for (const order of ['descending', 'ascending']) {
            button.click();
            results.push(names());
          }
          done(results);
        }, 500);";
    let Some(result) = opened(&with_script(script), "", &[]) else { return };
    assert_result(
        &result,
        r#"[0,6,1,"1 of 6 examples",2,"crossner,&lt;/script,GENIA","&lt;/script,crossner,GENIA"]"#,
    );
}

/// Nothing is wider than a phone's screen but what scrolls on its own, passages in Arabic run from
/// right to left, and all controls can be reached by the keyboard.
#[test]
fn the_page_fits_phones_directions_and_keyboards() {
    let script = "
        setTimeout(() => {
          const passages = [...document.querySelectorAll('.passage')];
          const directions = passages.map((passage) => getComputedStyle(passage).direction);
          const controls = document.querySelectorAll('summary, button, select, a[href]');
          const reached = [...controls].filter((control) => control.tabIndex === 0);
          done([innerWidth, document.documentElement.scrollWidth <= innerWidth,
            directions.filter((direction) => direction === 'rtl').length,
            reached.length === controls.length]);
        }, 500);";
    let options = ["--window-size=500,900"];
    let Some(result) = opened(&with_script(script), "#dataset-0", &options) else { return };
    assert_result(&result, "[500,true,1,true]");
}

#[test]
fn colours_follow_the_reader() {
    let script = "done(getComputedStyle(document.body).backgroundColor);";
    for (setting, expected) in [(LIGHT, "\"rgb(255, 255, 255)\""), (DARK, "\"rgb(20, 23, 26)\"")] {
        let Some(result) = opened(&with_script(script), "", &[setting]) else { return };
        assert_result(&result, expected);
    }
}
