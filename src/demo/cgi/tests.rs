use std::fs;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::*;

/// Scripts with these texts, of one file each.
fn scripts(files: &[(&str, &str)]) -> (TempDir, Scripts) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let scripts = Scripts {
        folder: folder.path().to_owned(),
        documents: folder.path().to_owned(),
        environment: vec![
            ("PATH".into(), std::env::var_os("PATH").unwrap()),
            ("STATE".into(), folder.path().into()),
        ],
        time_limit: Duration::from_secs(20),
        jobs: Arc::default(),
        running: Arc::default(),
    };
    (folder, scripts)
}

/// A body that does not say how long it is, as a chunked one.
struct Unmeasured;

impl http_body::Body for Unmeasured {
    type Data = Bytes;
    type Error = crate::body::BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Waits for what a script does to a file system, which announces nothing.
async fn until(mut fact: impl FnMut() -> bool) {
    let wait = async {
        while !fact() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it never came to that");
}

#[test]
fn only_scripts_can_be_asked_for() {
    let target = |path| Target::parse(path).map(|target| (target.script, target.path_info));

    assert_eq!(target("/cgi-bin/a-b.cgi"), Some(("a-b.cgi".to_owned(), None)));
    assert_eq!(target("/cgi-bin/a.cgi/"), Some(("a.cgi".to_owned(), Some("/".into()))));
    assert_eq!(target("/cgi-bin/a.cgi/x%20y/../z"), Some(("a.cgi".to_owned(), Some("/x y/../z".into()))));
    for path in [
        "/cgi-bin/",
        "/cgi-bin/.cgi",
        "/cgi-bin/cgi.sh",
        "/cgi-bin/../cgi-bin/a.cgi",
        "/cgi-bin/%61.cgi",
        "/cgi-bin/A.cgi",
        "/cgi-bin//a.cgi",
        "/cgi-bin/a.cgi/%00",
        "/cgi-bin/a.cgi/x%2Fy",
        "/a.cgi",
    ] {
        assert_eq!(target(path), None, "{path}");
    }
}

#[tokio::test]
async fn a_script_reads_its_body_and_answers() {
    let (_folder, scripts) = scripts(&[(
        "echo.cgi",
        "printf 'Status: 201 Made\\nContent-Type: text/plain\\nX-Seen: %s\\n\\n' \"$CONTENT_LENGTH\"\ncat",
    )]);
    let request = Request::post("/cgi-bin/echo.cgi").body(Body::from("你好")).unwrap();

    let response = scripts.answer(request).await.unwrap();

    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["x-seen"], "6");
    assert_eq!(text(response).await, "你好");
}

#[tokio::test]
async fn the_environment_is_the_requests_and_nothing_else() {
    let (_folder, scripts) =
        scripts(&[("env.cgi", "printf 'Content-Type: text/plain\\n\\n'; env; pwd; cat | wc -c")]);

    let seen = text(scripts.answer(get("/cgi-bin/env.cgi?a=b")).await.unwrap()).await;

    assert!(seen.contains("QUERY_STRING=a=b\n"), "{seen}");
    assert!(!seen.contains("CARGO"), "{seen}");
}

#[tokio::test]
async fn output_leaves_as_it_is_produced() {
    let (folder, scripts) = scripts(&[(
        "slow.cgi",
        "printf 'Content-Type: text/plain\\r\\n\\r\\none'\n\
         while [ ! -e \"$STATE/go\" ]; do sleep 0.01; done\n\
         printf two",
    )]);

    let mut body = scripts.answer(get("/cgi-bin/slow.cgi")).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    // Only now may the script go on: what came so far did not wait for its end.
    fs::write(folder.path().join("go"), "").unwrap();
    let rest = body.collect().await.unwrap().to_bytes();

    assert_eq!((first, rest), (Bytes::from("one"), Bytes::from("two")));
}

#[tokio::test]
async fn the_script_has_ended_when_its_answer_has() {
    let (_folder, scripts) = scripts(&[("a.cgi", "printf 'Content-Type: a/b\\n\\nx'")]);

    let response = scripts.answer(get("/cgi-bin/a.cgi")).await.unwrap();
    text(response).await;

    assert_eq!(scripts.running.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_script_ends_when_its_client_leaves() {
    let (folder, scripts) = scripts(&[(
        "loop.cgi",
        "printf 'Content-Type: text/plain\\n\\n%s' $$\nwhile :; do sleep 0.01; : >>\"$STATE/alive\"; done",
    )]);
    let mut body = scripts.answer(get("/cgi-bin/loop.cgi")).await.unwrap().into_body();
    let pid = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let pid = rustix::process::Pid::from_raw(std::str::from_utf8(&pid).unwrap().parse().unwrap()).unwrap();
    until(|| folder.path().join("alive").exists()).await;

    drop(body);

    until(|| scripts.running.load(Ordering::Relaxed) == 0).await;
    until(|| rustix::process::test_kill_process_group(pid).is_err()).await;
}

#[tokio::test]
async fn a_script_that_never_answers_is_ended() {
    let (_folder, mut scripts) = scripts(&[("mute.cgi", "sleep 1000")]);
    scripts.time_limit = Duration::from_millis(50);

    let fault = scripts.answer(get("/cgi-bin/mute.cgi")).await.err();

    assert!(matches!(fault, Some(Fault::TimedOut(_))), "{fault:?}");
    assert_eq!(scripts.running.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_cut_off_with_an_error() {
    let (_folder, mut scripts) =
        scripts(&[("long.cgi", "printf 'Content-Type: text/plain\\n\\nbegun'; sleep 1000")]);
    scripts.time_limit = Duration::from_secs(1);

    let response = scripts.answer(get("/cgi-bin/long.cgi")).await.unwrap();

    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_job_left_behind_works_on_until_the_end() {
    let (folder, scripts) = scripts(&[(
        "start.cgi",
        "nohup sh -c 'while :; do : >>\"$STATE/alive\"; sleep 0.01; done' </dev/null >/dev/null 2>&1 &\n\
         printf 'Content-Type: text/plain\\n\\nstarted'",
    )]);

    assert_eq!(text(scripts.answer(get("/cgi-bin/start.cgi")).await.unwrap()).await, "started");
    until(|| folder.path().join("alive").exists()).await;
    assert_eq!(scripts.jobs.count(), 1);

    scripts.jobs.end().await;
    until(|| scripts.jobs.count() == 0).await;
}

#[tokio::test]
async fn a_local_redirect_is_followed_and_a_circle_is_not() {
    let (_folder, scripts) = scripts(&[
        ("from.cgi", "printf 'Location: /cgi-bin/to.cgi?x=1\\n\\n'"),
        ("to.cgi", "printf 'Content-Type: text/plain\\n\\n%s' \"$REQUEST_METHOD $QUERY_STRING\""),
        ("circle.cgi", "printf 'Location: /cgi-bin/circle.cgi\\n\\n'"),
    ]);
    let request = Request::post("/cgi-bin/from.cgi").body(Body::from("x")).unwrap();

    assert_eq!(text(scripts.answer(request).await.unwrap()).await, "GET x=1");
    assert!(matches!(scripts.answer(get("/cgi-bin/circle.cgi")).await.err(), Some(Fault::Loop)));
}

#[tokio::test]
async fn bodies_without_a_length_and_too_long_ones_are_refused() {
    let (_folder, scripts) = scripts(&[("a.cgi", "exit")]);
    let unmeasured = Body::stream(Unmeasured);
    let request = Request::post("/cgi-bin/a.cgi").body(unmeasured).unwrap();

    assert!(matches!(scripts.answer(request).await.err(), Some(Fault::LengthRequired)));

    let long = Request::post("/cgi-bin/a.cgi").body(Body::from(vec![0; 2 << 20])).unwrap();
    assert!(matches!(scripts.answer(long).await.err(), Some(Fault::TooLarge)));
}

#[tokio::test]
async fn what_is_no_answer_is_a_fault() {
    let (_folder, scripts) = scripts(&[
        ("empty.cgi", "exit"),
        ("cut.cgi", "printf 'Content-Type: text/plain\\n'"),
        ("huge.cgi", "while :; do printf 'X-Header: more of it\\n'; done"),
    ]);

    for (path, fault) in [
        ("/cgi-bin/empty.cgi", BadHeader::CutOff),
        ("/cgi-bin/cut.cgi", BadHeader::CutOff),
        ("/cgi-bin/huge.cgi", BadHeader::TooLarge),
    ] {
        let found = scripts.answer(get(path)).await.err();
        assert!(matches!(&found, Some(Fault::Header(found)) if *found == fault), "{path}: {found:?}");
    }
    assert!(matches!(scripts.answer(get("/cgi-bin/none.cgi")).await.err(), Some(Fault::Unknown)));
}
