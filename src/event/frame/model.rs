//! A second reading of the same language, from the whole of the bytes at once and as plain as it can
//! be: for tests to compare with. It shares no code with the decoder but the checks of leaf types.

use std::time::Duration;

use super::{Code, Frame};
use crate::channel::Channel;
use crate::event::Event;
use crate::subject::Subject;

/// What a connection that carried `bytes` and ended comes to: its frames, and whether one was cut off.
pub(super) fn read(bytes: &[u8], limit: usize) -> (Vec<Result<Frame, Code>>, Option<Code>) {
    let (lines, rest) = lines(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    let mut frames = Vec::new();
    let mut sticky = Vec::new();
    let mut block: Vec<&[u8]> = Vec::new();
    for line in lines {
        if !line.is_empty() {
            block.push(line);
            continue;
        }
        block.retain(|line| line[0] != b':');
        if !block.is_empty() {
            name_channels(&block, &mut sticky);
            frames.push(frame(&block, limit, &sticky));
        }
        block.clear();
    }

    block.retain(|line| line[0] != b':');
    let within_line = !rest.is_empty() && rest[0] != b':';
    let cut_off = (!block.is_empty() || within_line)
        .then(|| first_fault(&block, limit).err().unwrap_or(Code::Incomplete));
    (frames, cut_off)
}

fn lines(mut bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut lines = Vec::new();
    while let Some(end) = bytes.iter().position(|b| *b == b'\r' || *b == b'\n') {
        lines.push(&bytes[..end]);
        let after = if bytes[end..].starts_with(b"\r\n") { end + 2 } else { end + 1 };
        bytes = &bytes[after..];
    }
    (lines, bytes)
}

fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = line.splitn(2, |b| *b == b':');
    let name = parts.next().unwrap_or_default();
    let value = parts.next().unwrap_or_default();
    (name, if value.starts_with(b" ") { &value[1..] } else { value })
}

fn channel(value: &[u8]) -> Option<Channel> {
    Channel::parse(std::str::from_utf8(value).ok()?).ok()
}

fn name_channels(block: &[&[u8]], sticky: &mut Vec<Channel>) {
    let named: Vec<_> =
        block.iter().map(|line| field(line)).filter(|(name, _)| *name == b"channel").collect();
    if named.is_empty() {
        return;
    }
    sticky.clear();
    for (_, value) in named {
        match channel(value) {
            Some(channel) if sticky.contains(&channel) => {}
            Some(channel) if sticky.len() < 64 => sticky.push(channel),
            _ => return sticky.clear(),
        }
    }
}

/// The first line of the block, in order, for which it is refused.
fn first_fault(block: &[&[u8]], limit: usize) -> Result<(), Code> {
    let mut size = 0;
    let mut channels = Vec::new();
    for line in block {
        size += line.len() + 1;
        if size > limit {
            return Err(Code::TooLarge);
        }
        let Ok(text) = std::str::from_utf8(line) else { return Err(Code::BadUtf8) };
        let (name, value) = field(text.as_bytes());
        let value = std::str::from_utf8(value).expect("the line is UTF-8");
        let number = value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<u32>().is_ok();
        let name_like = !value.is_empty() && value.len() <= 255 && !value.chars().any(char::is_control);
        let valid = match name {
            b"data" | b"close" => true,
            b"event" => !value.contains('\0'),
            b"id" => value.len() <= 255 && value.bytes().all(|b| (0x21..=0x7e).contains(&b)),
            b"retry" | b"ttl" => number,
            b"dedupe" | b"disconnect" => name_like,
            b"reply" => value == "on" || value == "off",
            b"grant" => return Err(Code::Forbidden),
            b"channel" => {
                let channel = channel(value.as_bytes()).ok_or(Code::BadChannel)?;
                if !channels.contains(&channel) {
                    channels.push(channel);
                }
                if channels.len() > 64 {
                    return Err(Code::BadChannel);
                }
                true
            }
            _ => return Err(Code::UnknownField),
        };
        if !valid {
            return Err(Code::BadValue);
        }
    }
    Ok(())
}

fn frame(block: &[&[u8]], limit: usize, sticky: &[Channel]) -> Result<Frame, Code> {
    first_fault(block, limit)?;
    let values = |wanted: &str| -> Vec<&str> {
        let fields = block.iter().map(|line| field(line)).filter(|(name, _)| *name == wanted.as_bytes());
        fields.map(|(_, value)| std::str::from_utf8(value).expect("checked")).collect()
    };
    let last = |wanted: &str| values(wanted).pop();

    let data = values("data");
    if !values("event").is_empty() && data.is_empty() {
        return Err(Code::BadValue);
    }
    let mut event = Event::default();
    event.set_name(last("event").unwrap_or_default()).expect("checked");
    event.set_id(last("id").unwrap_or_default()).expect("checked");
    if let Some(retry) = last("retry") {
        event.set_retry(retry.parse().expect("checked"));
    }
    if !data.is_empty() {
        event.set_data(&data.join("\n"));
    }
    let event = (event != Event::default()).then_some(event);

    let close = last("close").is_some();
    if event.is_none() && !close {
        if last("ttl").or(last("dedupe")).is_some() {
            return Err(Code::BadValue);
        }
    } else if sticky.is_empty() {
        return Err(Code::NoChannel);
    }
    Ok(Frame {
        channels: sticky.to_vec(),
        event,
        close,
        ttl: last("ttl").map(|seconds| Duration::from_secs(seconds.parse().expect("checked"))),
        dedupe: last("dedupe").map(Into::into),
        disconnect: values("disconnect").into_iter().map(|s| Subject::parse(s).expect("checked")).collect(),
        reply: last("reply").map(|word| word == "on"),
    })
}
