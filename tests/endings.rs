//! Where a stream ends, and for whom: a close and a disconnect are places in the log, whatever the client
//! is doing at that moment; and who only looks on changes nothing for anybody.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use support::{Backend, DEADLINE, Outboard, Request, Stream};

/// A backend that hands each client over with these headers, and goes on with the rest of its answer when
/// the test says so.
fn slow_to_end(headers: &'static str) -> (Backend, Sender<()>) {
    let (go_on, may_go_on) = channel();
    let may_go_on = Mutex::new(may_go_on);
    let backend = Backend::start(move |exchange| {
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{headers}\r\n"));
        exchange.write("Content-Length: 28\r\n\r\ndata: first\n\n");
        may_go_on.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        exchange.write("data: initial\n\n");
    });
    (backend, go_on)
}

fn data(stream: &mut Stream) -> Vec<String> {
    stream.rest().into_iter().map(|event| event.data).collect()
}

/// `outboard tail` of a channel.
struct Tail(Child);

impl Tail {
    fn of(outboard: &Outboard, channel: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
        command.args(["tail", channel, "--socket"]).arg(outboard.socket());
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    fn lines(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.0.stdout.take().unwrap()).lines()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_channel_that_is_closed_and_used_again_during_a_streams_first_bytes_ends_it_all_the_same() {
    let (backend, go_on) = slow_to_end("Outboard-Channel: job");
    let route = "[[event_route]]\npath = \"/job\"\nchannels = [\"job\"]\nauth = \"none\"\n";
    let outboard = Outboard::behind(&backend).with_config(route).start();
    let mut stream = outboard.subscribe("/any");
    stream.read_until("data: first");
    // At least one in the care of each thread: once they have ended, all threads know of the close.
    let threads = std::thread::available_parallelism().unwrap().get();
    let mut others: Vec<_> = (0..threads).map(|_| outboard.subscribe("/job")).collect();

    outboard.frames("channel: job\ndata: last\nclose:\n\n");
    others.iter_mut().for_each(|other| assert_eq!(data(other), ["last"]));
    outboard.publish("job", "of the next job");
    go_on.send(()).unwrap();

    assert_eq!(data(&mut stream), ["first", "initial", "last"]);
}

#[test]
fn what_was_published_before_a_disconnect_reaches_its_subject_during_a_streams_first_bytes_too() {
    let (backend, go_on) = slow_to_end("Outboard-Channel: news\r\nOutboard-Subject: alice");
    let outboard = Outboard::behind(&backend).start();
    let mut stream = outboard.subscribe("/any");
    stream.read_until("data: first");

    let replies =
        outboard.frames("channel: news\ndata: goodbye\n\ndisconnect: alice\n\ndata: not for alice\n\n");
    go_on.send(()).unwrap();

    assert!(replies[0].ends_with(" 1 accepted") && replies[2].ends_with(" 0 accepted"), "{replies:?}");
    assert_eq!(data(&mut stream), ["first", "initial", "goodbye"]);
}

#[test]
fn a_follower_is_no_receiver_and_what_only_it_has_seen_is_unseen() {
    let route = "[[event_route]]\npath = \"/job\"\nchannels = [\"job\"]\nauth = \"none\"\n";
    let backend = Backend::greeting();
    let outboard = Outboard::behind(&backend).with_config(route).start();
    let mut tail = Tail::of(&outboard, "job");
    let mut lines = tail.lines();
    // It is there once it gets something.
    let (mut number, mut receivers) = (0, 0);
    let first = std::thread::scope(|scope| {
        let line = scope.spawn(|| lines.next().unwrap().unwrap());
        while !line.is_finished() {
            number += 1;
            receivers += outboard.publish("job", &number.to_string()).receivers;
        }
        line.join().unwrap()
    });
    assert_eq!(receivers, 0);
    let list = Request::new("GET", "/channels/job", "HTTP/1.1").send_to_socket(&outboard.socket());

    let mut page = outboard.subscribe("/job");
    let seen: Vec<String> = (0..number).map(|_| page.data()).collect();
    outboard.frames("channel: job\nclose:\n\n");

    assert!(list.text().contains("\"subscribers\":0"), "{}", list.text());
    assert_eq!(seen, (1..=number).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(page.next_or_end(), None);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(rest.len(), number - first.parse::<usize>().unwrap(), "it gets all that came since, and ends");
    assert!(tail.0.wait().unwrap().success());
}

#[test]
fn an_answer_to_a_question_from_before_a_disconnect_lets_nobody_in_any_more() {
    let (go_on, may_go_on) = channel();
    let may_go_on = Mutex::new(may_go_on);
    let backend = Backend::start(move |exchange| {
        may_go_on.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        let mut headers = vec!["Outboard-Channel: news", "Outboard-Subject: alice"];
        if exchange.target() == "/any" {
            headers.push("Content-Type: text/event-stream");
        }
        exchange.answer("200 OK", &headers, "");
    });
    let route = "[[event_route]]\npath = \"/news\"\nchannels = [\"news\"]\nauth = \"/may-listen\"\n";
    let outboard = Outboard::behind(&backend).with_config(route).start();

    let address = outboard.address().to_owned();
    for path in ["/any", "/news"] {
        let mut stream = std::thread::scope(|scope| {
            let opening = scope.spawn(|| support::outboard::subscribe(&address, path, None));
            backend.next_request();
            assert_eq!(outboard.frames("disconnect: bob\n\ndisconnect: alice\n\n"), ["ok", "ok"]);
            go_on.send(()).unwrap();
            opening.join().unwrap()
        });

        assert_eq!((stream.status(), data(&mut stream)), (200, vec![]), "{path}");
        assert!(stream.retry().is_some(), "it is asked to come back");
        assert_eq!(outboard.publish("news", "not for alice").receivers, 0);
        go_on.send(()).unwrap();
        let mut again = outboard.subscribe(path);
        backend.next_request();
        assert_eq!(outboard.publish("news", "for alice").receivers, 1, "{path}");
        assert_eq!(outboard.frames("disconnect: alice\n\n"), ["ok"]);
        assert_eq!(data(&mut again).last().map(String::as_str), Some("for alice"));
    }
}
