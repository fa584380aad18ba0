//! A gigabyte through the real program, each way, in constant memory.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a fixture that breaks is a failed test")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use support::{Outboard, Site};

const GIB: u64 = 1 << 30;
const PIECE: usize = 256 << 10;
/// The most that the program may hold at any time; its code and threads are most of it.
const MOST_RESIDENT_KIB: u64 = 96 << 10;

/// A site that answers GET with a gigabyte, and everything else with how many bytes came.
struct Bulk(String);

impl Site for Bulk {
    fn url(&self) -> String {
        format!("http://{}", self.0)
    }
}

impl Bulk {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|socket| drop(thread::spawn(|| serve(socket))))
        });
        Self(address)
    }
}

fn serve(socket: TcpStream) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut writer = socket;
    let head = read_head(&mut reader);
    if head.starts_with("get ") {
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\nConnection: close\r\n\r\n").unwrap();
        send_gib(&mut writer);
        return;
    }
    let mut came = 0;
    if head.contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).unwrap();
            let size = u64::from_str_radix(size.trim(), 16).unwrap();
            came += drain(&mut reader, size);
            reader.read_line(&mut String::new()).unwrap();
            if size == 0 {
                break;
            }
        }
    } else {
        came = drain(&mut reader, GIB);
    }
    let answer = came.to_string();
    write!(
        writer,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    )
    .unwrap();
}

fn read_head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the head is cut off: {head}");
    }
    head.to_lowercase()
}

fn send_gib(writer: &mut impl Write) {
    let piece = vec![b'x'; PIECE];
    for _ in 0..GIB / PIECE as u64 {
        writer.write_all(&piece).unwrap();
    }
}

fn drain(reader: &mut impl Read, most: u64) -> u64 {
    std::io::copy(&mut reader.take(most), &mut std::io::sink()).unwrap()
}

/// The most memory that the program has ever held, in KiB (VmHWM).
fn peak(outboard: &Outboard) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", outboard.process().id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn start() -> (Bulk, Outboard) {
    let site = Bulk::start();
    let outboard = Outboard::behind(&site).start();
    (site, outboard)
}

#[test]
fn a_gigabyte_comes_down() {
    let (_site, outboard) = start();
    let mut client = TcpStream::connect(outboard.address()).unwrap();
    client.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut reader = BufReader::new(client);

    assert!(read_head(&mut reader).contains(&format!("content-length: {GIB}")));

    assert_eq!(drain(&mut reader, u64::MAX), GIB);
    assert!(peak(&outboard) < MOST_RESIDENT_KIB, "{} KiB", peak(&outboard));
}

#[test]
fn a_gigabyte_goes_up() {
    let (_site, outboard) = start();
    let mut client = TcpStream::connect(outboard.address()).unwrap();
    write!(client, "POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: {GIB}\r\nConnection: close\r\n\r\n")
        .unwrap();

    send_gib(&mut client);

    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(&GIB.to_string()), "{answer}");
    assert!(peak(&outboard) < MOST_RESIDENT_KIB, "{} KiB", peak(&outboard));
}
