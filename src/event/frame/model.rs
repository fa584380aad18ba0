//! A second reading of the same language, from the whole of the bytes at once and as plain as it can
//! be: for tests to compare with. It shares no code with the decoder but the checks of leaf types.

use std::time::Duration;

use super::names::is_near_miss;
use super::{Code, Frame};
use crate::channel::Channel;
use crate::event::Event;
use crate::subject::Subject;

/// A line as it counts: without its indentation where that is to be left out.
struct Written<'a> {
    text: &'a [u8],
    lenient: bool,
}

/// What a connection that carried `bytes` and ended comes to: its frames, and whether one was cut off.
pub(super) fn read(bytes: &[u8], limit: usize) -> (Vec<Result<Frame, Code>>, Option<Code>) {
    let (lines, rest) = lines(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    let mut frames = Vec::new();
    let mut sticky = Vec::new();
    let mut block: Vec<Written<'_>> = Vec::new();
    let mut lenient = false;
    for line in lines {
        let blanks = line.iter().take_while(|b| **b == b' ' || **b == b'\t').count();
        let text = if lenient { &line[blanks..] } else { line };
        if text.is_empty() {
            if !block.is_empty() {
                name_channels(&block, &mut sticky);
                frames.push(frame(&block, limit, &sticky));
            }
            block.clear();
        } else if text[0] != b':' {
            block.push(Written { text, lenient });
            match field(text) {
                (b"lenient", b"on") => lenient = true,
                (b"lenient", b"off") => lenient = false,
                _ => {}
            }
        }
    }

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

fn name_channels(block: &[Written<'_>], sticky: &mut Vec<Channel>) {
    let named: Vec<_> =
        block.iter().map(|line| field(line.text)).filter(|(name, _)| *name == b"channel").collect();
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
fn first_fault(block: &[Written<'_>], limit: usize) -> Result<(), Code> {
    let mut size = 0;
    let mut channels = Vec::new();
    for line in block {
        size += line.text.len() + 1;
        if size > limit {
            return Err(Code::TooLarge);
        }
        if line.is_left_out() {
            continue;
        }
        let Ok(text) = std::str::from_utf8(line.text) else { return Err(Code::BadUtf8) };
        let (name, value) = field(text.as_bytes());
        let value = std::str::from_utf8(value).expect("the line is UTF-8");
        let number = value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<u32>().is_ok();
        let name_like = !value.is_empty() && value.len() <= 255 && !value.chars().any(char::is_control);
        let valid = match name {
            b"data" | b"close" => true,
            b"event" => !value.contains('\0'),
            b"id" => {
                let printable = value.bytes().all(|b| (0x20..=0x7e).contains(&b));
                value.len() <= 255 && printable && value.trim() == value
            }
            b"retry" | b"ttl" => number,
            b"dedupe" | b"disconnect" => name_like,
            b"reply" | b"lenient" => value == "on" || value == "off",
            b"grant" => return Err(Code::Forbidden),
            b"channel" => {
                if value.starts_with('@') {
                    return Err(Code::Forbidden);
                }
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

impl Written<'_> {
    /// Whether it is skipped, as a browser would.
    fn is_left_out(&self) -> bool {
        let (name, value) = field(self.text);
        let Ok(name) = std::str::from_utf8(name) else { return self.lenient };
        let is_number = value.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(value).is_ok_and(|value| value.parse::<u32>().is_ok());
        let is_text = std::str::from_utf8(value).is_ok();
        self.lenient && if name == "retry" { is_text && !is_number } else { !is_near_miss(name) }
    }
}

fn frame(block: &[Written<'_>], limit: usize, sticky: &[Channel]) -> Result<Frame, Code> {
    first_fault(block, limit)?;
    let values = |wanted: &str| -> Vec<&str> {
        let counts = block.iter().filter(|line| !line.is_left_out());
        let fields = counts.map(|line| field(line.text)).filter(|(name, _)| *name == wanted.as_bytes());
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
