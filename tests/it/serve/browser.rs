//! The page in Chromium. Without one, the tests are skipped with a message;
//! `UNER_REQUIRE_BROWSER=1` makes them fail instead.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use uner_serve::{ApiKeys, Config};

use super::{PATIENCE, Server, config};

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A page in a headless browser, driven by the `DevTools` protocol over two pipes.
struct Page {
    browser: Child,
    requests: File,
    replies: BufReader<File>,
    session: Value,
    num_requests: u64,
    _folder: TempDir,
}

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

impl Page {
    /// Opens the page of a server; `None` without a browser.
    fn open(server: &Server, fragment: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (requests, replies) = (at("requests"), at("replies"));
        assert!(Command::new("mkfifo").args([&requests, &replies]).status().unwrap().success());
        // The browser reads requests from descriptor 3, and writes replies to 4.
        let command = format!("exec {} \"$@\" 3<'{requests}' 4>'{replies}'", browser()?);
        let browser = Command::new("sh")
            .args(["-c", &command, "browser", "--remote-debugging-pipe", "--headless"])
            .args(["--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .arg(format!("--user-data-dir={}", at("profile")))
            .arg("about:blank")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let requests = File::options().write(true).open(requests).unwrap();
        let replies = BufReader::new(File::options().read(true).open(replies).unwrap());
        let (session, num_requests) = (Value::Null, 0);
        let mut page = Self { browser, requests, replies, session, num_requests, _folder: folder };
        let target = page.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        page.session = page.call("Target.attachToTarget", &target)["sessionId"].clone();
        page.size(1200, 900);
        page.call(
            "Page.navigate",
            &json!({"url": format!("http://{}/{fragment}", server.address)}),
        );
        page.until("document.readyState === 'complete' && location.pathname === '/'");
        Some(page)
    }

    /// Calls a method of the protocol.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.num_requests += 1;
        let mut request = json!({"id": self.num_requests, "method": method, "params": params});
        if !self.session.is_null() {
            request["sessionId"] = self.session.clone();
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).unwrap();
        loop {
            let mut reply = Vec::new();
            self.replies.read_until(0, &mut reply).unwrap();
            assert_eq!(reply.pop(), Some(0), "the browser ended");
            let reply: Value = serde_json::from_slice(&reply).unwrap();
            if reply["id"] == self.num_requests {
                assert!(reply["error"].is_null(), "{method}: {reply}");
                return reply["result"].clone();
            }
        }
    }

    /// The value of an expression of the page.
    fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let reply = self.call("Runtime.evaluate", &params);
        assert!(reply["exceptionDetails"].is_null(), "{expression}: {reply}");
        reply["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    fn until(&mut self, expression: &str) {
        let began = Instant::now();
        while self.value(expression) != true {
            let state = self.value("document.body?.innerText ?? ''");
            assert!(began.elapsed() < PATIENCE, "never: {expression}; the page says {state}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn size(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1,
                          "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Types text into the element that has the focus.
    fn write(&mut self, id: &str, text: &str) {
        self.value(&format!("document.getElementById('{id}').focus()"));
        self.call("Input.insertText", &json!({"text": text}));
    }

    fn press(&mut self, key: &str, code: u32, modifiers: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "modifiers": modifiers,
                               "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    fn click(&mut self, selector: &str) {
        self.value(&format!("document.querySelector('{selector}').click()"));
    }

    /// Extracts, and waits for the answer or an error.
    fn extract(&mut self) {
        self.click("#extract");
        self.until("document.getElementById('cancel').hidden");
    }

    fn text(&mut self, id: &str) -> String {
        let text = self.value(&format!("document.getElementById('{id}').textContent"));
        text.as_str().unwrap().to_owned()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

/// The entities of the table: type and text of each row.
const ROWS: &str = "[...document.querySelectorAll('#entities tr')].map((row) => \
                    [row.cells[0].textContent, row.cells[1].textContent])";

/// By the keyboard alone: text, types, extraction; the table has what the server answers.
#[test]
fn typed_text_is_searched() {
    let server = Server::start(config());
    let Some(mut page) = Page::open(&server, "") else { return };
    let text = "Ada 👩‍🚀 met Bo in Rome. Ada <b>ran</b>.";
    page.write("text", text);
    page.write("type-input", "person");
    page.press("Enter", 13, 0);
    page.write("type-input", "city,");
    page.press("Enter", 13, 2);
    page.until("document.querySelectorAll('#entities tr').length > 0");
    let body = json!({"text": text, "types": ["person", "city"]});
    let answer = server.post("/v1/ner", &body.to_string()).json();
    let found = answer["results"][0]["entities"].as_array().unwrap();
    let expected: Vec<Value> = found.iter().map(|one| json!([one["type"], one["text"]])).collect();
    assert_eq!(page.value(ROWS), json!(expected));
    // Without its labels, the marked text is the text; nothing of it became an element.
    let marked = "(() => { const copy = document.getElementById('result').cloneNode(true); \
                  copy.querySelectorAll('.label').forEach((label) => label.remove()); \
                  return [copy.textContent, copy.querySelectorAll('b').length]; })()";
    assert_eq!(page.value(marked), json!([text, 0]));
    page.value(
        "(() => { const slider = document.getElementById('threshold'); slider.value = 1; \
                slider.dispatchEvent(new Event('input')); })()",
    );
    let certain = found.iter().filter(|one| one["probability"] == 1.0).count();
    assert_eq!(page.value(&format!("{ROWS}.length")), json!(certain));
    let log = server.get("/metrics").body;
    assert!(log.contains("route=\"/v1/ner\",status=\"200\"} 2"), "the slider asks nothing: {log}");
}

#[test]
fn examples_links_and_suggestions_fill_the_form() {
    let server = Server::start(config());
    let Some(mut page) = Page::open(&server, "") else { return };
    assert_eq!(page.value("document.querySelectorAll('#examples button').length"), 9);
    page.until("document.querySelectorAll('#suggestions button').length === 2");
    page.click("#examples button");
    let types = "document.querySelectorAll('#types li').length";
    assert!(page.value(types).as_u64().unwrap() >= 2);
    let text = page.value("document.getElementById('text').value");
    page.click("#permalink");
    page.until("location.hash.length > 20");
    let fragment = page.value("location.hash").as_str().unwrap().to_owned();
    let count = page.value(types);
    drop(page);
    let Some(mut page) = Page::open(&server, &fragment) else { return };
    assert_eq!(
        (page.value("document.getElementById('text').value"), page.value(types)),
        (text, count)
    );
    assert_eq!(page.value("document.getElementById('output').hidden"), true, "it does not run");
}

#[test]
fn errors_are_shown() {
    let keys = ApiKeys::from_list("0123456789abcdef", "test").unwrap();
    let server = Server::start(Config { keys, ..config() });
    let Some(mut page) = Page::open(&server, "") else { return };
    // The page asks for the models when it is opened.
    page.until("document.getElementById('alert').textContent.includes('API key')");
    page.extract();
    assert_eq!(page.text("alert"), "Enter a text first.");
    page.write("text", "Ada met Bo.");
    page.extract();
    assert_eq!(page.text("alert"), "Add an entity type first.");
    page.write("type-input", "person");
    page.extract();
    assert!(page.text("alert").contains("API key"), "{}", page.text("alert"));
    page.write("key", "0123456789abcdef");
    page.extract();
    assert_eq!(page.text("alert"), "");
    page.until("!document.getElementById('output').hidden");
    server.stop();
    page.extract();
    assert!(page.text("alert").contains("does not answer"), "{}", page.text("alert"));
}

/// A phone, a text from right to left, and a long text; dark and light.
#[test]
fn the_page_fits_screens_and_scripts() {
    let server = Server::start(config());
    let Some(mut page) = Page::open(&server, "") else { return };
    page.write("text", "ذهبت آدا إلى روما مع بو.");
    page.write("type-input", "person");
    page.extract();
    let direction = "getComputedStyle(document.getElementById('text')).direction";
    assert_eq!(page.value(direction), "rtl");
    page.size(320, 800);
    let fits = "document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(page.value(fits), true);
    page.value("document.getElementById('text').value = ''");
    page.write("text", &"Ada met Bo in Rome. ".repeat(400));
    page.extract();
    page.until("document.getElementById('result').textContent.length >= 8000");
    assert_eq!(page.value(fits), true);
    let mut backgrounds = Vec::new();
    for scheme in ["dark", "light"] {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        page.call("Emulation.setEmulatedMedia", &media);
        backgrounds.push(page.value("getComputedStyle(document.body).backgroundColor"));
        let picture = page.call("Page.captureScreenshot", &json!({"format": "png"}));
        // A blank page of this size has about 2,000 characters.
        assert!(picture["data"].as_str().unwrap().len() > 10_000, "{scheme}");
    }
    assert_ne!(backgrounds[0], backgrounds[1]);
}
